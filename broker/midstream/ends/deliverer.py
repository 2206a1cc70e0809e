"""Hands out ends that wait in the outbox: one end of each lane at a time, until it was taken (PROTOCOL: Ends).

Every process that knows an outlet runs one of these. They share the work by claims that run out, so it does not matter
which of them dies.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from midstream import counters
from midstream.ends.ends_settings import EndsSettings
from midstream.log.errors import LogError, LogUnavailable
from midstream.log.forever import forever
from midstream.log.outbox import Box, Outbox, Outlet, Taken

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5
"""How often the outbox is looked at while nothing is under way here."""
PACE_S: Final = 0.02
"""The least rest between two looks. A receiver that comes back after hours must not take the loop from readers."""
NAME_S: Final = 60.0
"""How often a process says that its outlets are still there, or that it has none."""
CLAIM_TIMEOUTS: Final = 2
"""A claim lasts for so many of the longest deliveries, so nothing is under way any more when it runs out."""
STOP_S: Final = 2.0
"""How long a process that stops waits for what is under way."""
LONGEST_DOUBLING: Final = 30


class NotTakenError(Exception):
    """A delivery failed, and is to be tried again.

    Attributes:
        why: What went wrong, in a few words without content.
        after_s: It is not tried before this time; 0: the receiver named none.
    """

    def __init__(self, why: str, after_s: float = 0) -> None:
        super().__init__(why)
        self.why = why
        self.after_s = after_s


class UnwantedError(Exception):
    """The receiver does not want this end, now or later."""


class Deliverer:
    """Delivers the ends of some outlets of one kind.

    Args:
        outbox: Where the ends wait.
        settings: How often, how long and how many at once.
        kind: `webhook` or `hook`.
        outlets: Returns the outlets that this process knows now.
        deliver: Delivers an end. It raises `NotTakenError` or `UnwantedError`; any other exception is a failure too.
        timeout_s: The longest time of a delivery.
    """

    def __init__(
        self,
        outbox: Outbox,
        settings: EndsSettings,
        kind: str,
        outlets: Callable[[], Sequence[Outlet]],
        deliver: Callable[[Taken], Awaitable[None]],
        timeout_s: float,
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._kind = kind
        self._outlets = outlets
        self._deliver = deliver
        self._timeout_s = timeout_s
        self._claim_ms = round(CLAIM_TIMEOUTS * timeout_s * 1000)
        self._furthest_ms = max(self._claim_ms, round(settings.end_retry_most_s * 1000))
        self._under_way: dict[asyncio.Task[None], str] = {}
        self._woken = asyncio.Event()
        self._named_s = -NAME_S
        self._named: Sequence[Outlet] = ()
        self._boxes: dict[str, Box] = {}
        self._now_ms = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Have ends noted from now on, and deliver them until `stop`.

        Raises:
            LogError: There are outlets, and Redis did not answer.
        """
        await self._name()
        self._task = asyncio.create_task(forever(f"{self._kind}s", self._run), name=f"{self._kind}s")

    async def stop(self) -> None:
        """Stop. What is under way gets a moment; the rest is delivered by others when our claims have run out."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STOP_S)
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def look(self) -> None:
        """Look at the outlets now, because there are others than before."""
        self._woken.set()

    def readings(self) -> dict[tuple[str, ...], float]:
        """Return how many ends wait, and for how long the first has, by name and labels."""
        boxes = self._boxes.values()
        oldest_ms = min((box.oldest_ms for box in boxes if box.oldest_ms is not None), default=self._now_ms)
        return {
            ("ends_waiting", self._kind): float(sum(box.waiting for box in boxes)),
            ("ends_oldest_waiting_seconds", self._kind): max(0, self._now_ms - oldest_ms) / 1000,
        }

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                outlets = self._outlets()
                if outlets != self._named or time.monotonic() - self._named_s >= NAME_S:
                    await self._name()
                if outlets:
                    await self._take(outlets)
                else:
                    self._boxes = {}
            except LogUnavailable as error:
                logger.warning("ends cannot be delivered: %s", error)
                await asyncio.sleep(LOOK_S)
            try:
                rest_s = LOOK_S if self._outlets() else NAME_S
                async with asyncio.timeout(rest_s * random.uniform(0.75, 1.25)):  # noqa: S311
                    await self._woken.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(PACE_S)

    async def _name(self) -> None:
        outlets = self._outlets()
        try:
            forgotten = await self._outbox.name(self._kind, outlets)
        except LogUnavailable:
            # Without outlets the next minute will do. The user of an older `users.acl` may not name any.
            if outlets:
                raise
            forgotten = []
        self._named, self._named_s = outlets, time.monotonic()
        if forgotten:
            logger.warning("ends are not kept any more for %s, which no process names", " ".join(forgotten))

    async def _take(self, outlets: Sequence[Outlet]) -> None:
        busy = Counter(self._under_way.values())
        per_outlet = {each.name: self._settings.end_deliveries - busy[each.name] for each in outlets}
        self._now_ms, boxes = await self._outbox.take(per_outlet, self._claim_ms, self._furthest_ms)
        for name, box in boxes.items():
            if name in self._boxes and box.lost > self._boxes[name].lost:
                logger.error("%s: %d ends found the outbox full and are lost to it", name, box.lost)
            for taken in box.taken:
                task = asyncio.create_task(self._handle(taken), name=f"{name} {taken.stream_id}")
                self._under_way[task] = name
                task.add_done_callback(self._over)
        self._boxes = boxes

    def _over(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.WARNING if isinstance(error, LogError) else logging.ERROR
            # Its claim runs out, and it is delivered again.
            logger.log(level, "an end could not be settled: %s", type(error).__name__, exc_info=error)
        self._woken.set()

    async def _handle(self, taken: Taken) -> None:
        """Deliver an end, and say what became of it."""
        if not taken.facts:  # the stream was deleted, or the end is older than ends are kept
            await self._settle(taken, "gone")
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._deliver(taken)
        except UnwantedError:
            await self._settle(taken, "unwanted")
        except NotTakenError as error:
            await self._fail(taken, error.why, error.after_s)
        except TimeoutError:
            await self._fail(taken, f"it took longer than {self._timeout_s:g} s")
        except (Exception, SystemExit) as error:
            logger.exception("%s: %s has raised", taken.outlet, taken.stream_id, extra={"stream": taken.stream_id})
            await self._fail(taken, type(error).__name__)
        else:
            await self._settle(taken, "taken")

    async def _settle(self, taken: Taken, result: str) -> None:
        if await self._outbox.settle(taken, "taken"):
            counters.count("end_deliveries", self._kind, result)

    async def _fail(self, taken: Taken, why: str, after_s: float = 0) -> None:
        settings = self._settings
        age_s = (self._now_ms - int(taken.facts["ended_ms"])) / 1000
        facts = (taken.outlet, taken.stream_id, taken.tries, why)
        if age_s >= settings.end_give_up_s:
            if await self._outbox.settle(taken, "abandoned"):
                counters.count("end_deliveries", self._kind, "abandoned")
                logger.error("%s: the end of %s is abandoned after %d tries: %s", *facts, extra=_stream(taken))
            return
        doubled_ms = settings.end_retry_ms * 2 ** min(taken.tries - 1, LONGEST_DOUBLING)
        delay_ms = min(max(doubled_ms, after_s * 1000), settings.end_retry_most_s * 1000)
        # Jitter: receivers that were down for all are not sent everything at once.
        delay_ms = round(delay_ms * random.uniform(0.75, 1))  # noqa: S311
        await self._outbox.settle(taken, "again", delay_ms)
        counters.count("end_deliveries", self._kind, "failed")
        logger.warning(
            "%s: the end of %s was not taken at try %d: %s; again in %.1f s",
            *facts,
            delay_ms / 1000,
            extra=_stream(taken),
        )


def _stream(taken: Taken) -> dict[str, str]:
    return {"stream": taken.stream_id}
