"""Keeps the leases of all attempts of a process, and stops generations that lost theirs or are to be cancelled.

A thread renews the leases (renewals.py). This part runs on the main loop: it knows which generation a lease belongs
to, and acts on what the server answered. It is no fence: the server compares the epoch at every append (I6).
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from redis.asyncio import Redis

from midstream.attempts.attempt import Attempt, Lost
from midstream.attempts.conclusion import Stop
from midstream.attempts.loop_watch import LoopWatch
from midstream.attempts.renewals import Lease, Renewals, Renewed
from midstream.log.errors import LogUnavailable, StaleEpoch, StreamSealed
from midstream.settings import Settings

logger = logging.getLogger(__name__)


class Stoppable(Protocol):
    """A running generation, as the lease keeper sees it."""

    attempt: Attempt

    def stop(self, reason: Stop) -> None:
        """Stop producing: `CANCELLED` or `LOST`."""
        ...


class LeaseKeeper:
    """Renews the leases of all generations between their `add` and their `remove`, until `stop`.

    Args:
        connect: Returns a client of the server, for the time-out of one reply in seconds.
        give_up: Ends the process, because it cannot keep its leases.
        folder: Where the program's own code is; see `LoopWatch`.
    """

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[float], Redis],
        give_up: Callable[[str], None],
        folder: str = "",
    ) -> None:
        self._held: dict[str, Stoppable] = {}
        self._guard = threading.Lock()
        self._loop_watch = LoopWatch(self._model_of, lambda: not self._held, folder)
        self._renewals = Renewals(
            connect,
            settings.key_prefix,
            settings.lease_ms,
            settings.app_block_s,
            self._leases,
            self._post_answers,
            self._loop_watch,
            give_up,
        )
        self._loop: asyncio.AbstractEventLoop
        self._overloaded = False
        self._reclaims: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to renew."""
        self._loop = asyncio.get_running_loop()
        self._loop_watch.start()
        self._renewals.start()

    async def stop(self) -> None:
        """Stop renewing."""
        await self._renewals.stop()
        self._loop_watch.stop()
        for task in self._reclaims:
            task.cancel()
        await asyncio.gather(*self._reclaims, return_exceptions=True)

    def add(self, generation: Stoppable) -> None:
        """Keep a generation's lease."""
        with self._guard:
            was_calm = not self._held
            self._held[generation.attempt.stream_id] = generation
        if was_calm:
            self._loop_watch.beat_now()
            self._renewals.look_now()

    def remove(self, generation: Stoppable) -> None:
        """Stop keeping a generation's lease."""
        with self._guard:
            if self._held.get(generation.attempt.stream_id) is generation:
                del self._held[generation.attempt.stream_id]

    def cancel(self, stream_id: str) -> None:
        """Stop a generation that a client cancels; nothing happens if the stream is not ours."""
        generation = self._held.get(stream_id)
        if generation is not None:
            generation.stop(Stop.CANCELLED)

    @property
    def is_renewing(self) -> bool:
        """Whether the thread that renews is alive."""
        return self._renewals.is_alive

    def abandon(self) -> bool:
        """Let all leases that are held now run out, and stop their generations as lost; return whether there are any.

        Any thread may call this. The loop may be blocked, and stops them when it turns again.
        """
        with self._guard:
            lost = [*self._held.values()]
            self._held.clear()
        for generation in lost:
            self._loop.call_soon_threadsafe(generation.stop, Stop.LOST)
        return bool(lost)

    def renew_all(self) -> None:
        """Renew every lease now; the answers tell of cancels that this process has missed."""
        self._renewals.renew_now()

    @property
    def overloaded(self) -> bool:
        """Whether renewals are late, so that no further stream may be taken. Logs when that begins and ends."""
        late_s = self._renewals.late_s
        if late_s and not self._overloaded:
            why = self._renewals.failure or "this worker does not get to it"
            logger.warning(
                "overloaded: no lease was renewed for %.1f s (%s); taking no more streams until they are", late_s, why
            )
        elif self._overloaded and not late_s:
            logger.warning("leases are renewed in time again; taking streams")
        self._overloaded = bool(late_s)
        return self._overloaded

    @property
    def renewal_age_s(self) -> float:
        """How long ago the last round of renewals began that succeeded."""
        return time.monotonic() - self._renewals.renewed_s

    def _leases(self) -> list[Lease]:
        """Return all leases to renew; a sealed stream has none. The renewing thread calls this."""
        with self._guard:
            attempts = [generation.attempt for generation in self._held.values()]
        return [(attempt.stream_id, attempt.fence) for attempt in attempts if not attempt.sealed]

    def _model_of(self, stream_id: str) -> str:
        generation = self._held.get(stream_id)
        return generation.attempt.state.model if generation is not None else ""

    def _post_answers(self, renewed: list[Renewed]) -> None:
        """Take the answers on the main loop; the renewing thread calls this."""
        self._loop.call_soon_threadsafe(self._take_answers, renewed)

    def _take_answers(self, renewed: list[Renewed]) -> None:
        for stream_id, fence, answer in renewed:
            generation = self._held.get(stream_id)
            if generation is None or generation.attempt.fence != fence or generation.attempt.sealed:
                continue  # its end was written while the renewal was under way
            if answer is True:
                generation.stop(Stop.CANCELLED)
            elif isinstance(answer, StreamSealed) and generation.attempt.is_sealing:
                continue  # by us, or by another one: the answer to our seal tells
            elif isinstance(answer, StaleEpoch) and answer.current < fence.epoch:
                task = self._loop.create_task(self._reclaim(generation), name=f"reclaim {stream_id}")
                self._reclaims.add(task)
                task.add_done_callback(self._reclaims.discard)
            else:
                self._stop_as_lost(generation, answer)

    async def _reclaim(self, generation: Stoppable) -> None:
        """Claim a stream again whose claim the server has lost (PROTOCOL: Append/Rollback)."""
        try:
            if await generation.attempt.renew():
                generation.stop(Stop.CANCELLED)
        except Lost as error:
            if not generation.attempt.sealed:
                self._stop_as_lost(generation, error)
        except LogUnavailable as error:
            logger.warning(
                "stream %s could not be claimed again yet: %s",
                generation.attempt.stream_id,
                error,
                extra={"stream": generation.attempt.stream_id},
            )

    def _stop_as_lost(self, generation: Stoppable, why: object) -> None:
        logger.warning(
            "stream %s is lost to us: %s",
            generation.attempt.stream_id,
            why,
            extra={"stream": generation.attempt.stream_id},
        )
        generation.stop(Stop.LOST)
