"""The thread that renews leases: nothing that an app, a full pool or a busy loop does keeps it waiting.

It has an event loop and one connection of its own, and renews all leases by one pipelined call every third of a
lease. A round that fails is repeated at once on a new connection, so that one that went dead costs a time-out and
not a lease.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Final

import uvloop
from redis.asyncio import Redis

from midstream.log.errors import LogError, LogUnavailable
from midstream.log.log import Fence, Log
from midstream_worker.turning import BEAT_S, Turning

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE: Final = 3
TRIES_PER_RENEWAL: Final = 2
"""The time-out of one renewal is this part of the time between two."""
BACKOFF_S: Final = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5)
"""Waits between failed rounds; the last one repeats. The first repetition is at once."""
LATE_LEASES: Final = 2 / 3
JOIN_S: Final = 5.0

Lease = tuple[str, Fence]
Renewed = tuple[str, Fence, bool | LogError]
"""A stream, the fence that was shown, and whether a cancel was asked for, or why the lease is not ours."""


class Renewals:
    """Renews what `held` returns, and hands what is not simply renewed to `tell`, in the thread that does it.

    Args:
        connect: Returns a client; called in the thread, with the time-out of one reply in seconds.
        give_up: Ends the process, with a sentence that says why: it cannot keep its leases.
        block_s: How long the main loop may stand still.
    """

    def __init__(
        self,
        connect: Callable[[float], Redis],
        prefix: str,
        lease_ms: int,
        block_s: float,
        held: Callable[[], list[Lease]],
        tell: Callable[[list[Renewed]], None],
        turning: Turning,
        give_up: Callable[[str], None],
    ) -> None:
        self.renewed_s = time.monotonic()
        self.failure = ""
        self._connect = connect
        self._prefix = prefix
        self._lease_ms = lease_ms
        self._interval_s = lease_ms / 1000 / RENEWALS_PER_LEASE
        self._block_s = block_s
        self._held = held
        self._tell = tell
        self._turning = turning
        self._give_up = give_up
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: Future[None] = Future()
        self._due: asyncio.Event
        self._task: asyncio.Task[None]

    @property
    def late_s(self) -> float:
        """For how long leases have not been renewed, if that is longer than it should be; else 0."""
        since_s = time.monotonic() - self.renewed_s
        return since_s if since_s > LATE_LEASES * self._lease_ms / 1000 and self._held() else 0.0

    def start(self) -> None:
        """Begin to renew, and to look whether the main loop turns."""
        started = threading.Event()
        self.renewed_s = time.monotonic()
        self._thread = threading.Thread(target=self._main, args=(started,), name="renewals", daemon=True)
        self._thread.start()
        started.wait(JOIN_S)

    def renew_now(self) -> None:
        """Begin a round now; what was missed meanwhile is heard by it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._due.set)

    async def stop(self) -> None:
        """Renew no longer."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
            # Not by the loop's own threads: an app may have filled them all with what blocks.
            await asyncio.wait((asyncio.wrap_future(self._over),), timeout=JOIN_S)
            self._loop = None

    def _main(self, started: threading.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run(started))
        except asyncio.CancelledError:
            return  # stopped
        except BaseException:
            logger.exception("renewals: the thread has died")
            self._give_up("nothing renews the leases of this worker any more")
        finally:
            self._over.set_result(None)

    async def _run(self, started: threading.Event) -> None:
        self._loop, self._due = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._task = task
        started.set()
        redis = self._connect(self._interval_s / TRIES_PER_RENEWAL)
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._renew_always(Log(redis, self._prefix), redis.connection_pool.disconnect))
                loops.create_task(self._look_always())
        finally:
            await redis.aclose(close_connection_pool=True)

    async def _look_always(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            still_s, culprit = self._turning.look()
            if still_s > self._block_s:
                self._give_up(f"{culprit} has blocked the event loop for {still_s:.0f} s (MIDSTREAM_APP_BLOCK_S)")

    async def _renew_always(self, log: Log, hang_up: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            began_s = time.monotonic()
            self._due.clear()  # who asks while a round is under way asks for the next one
            if await self._round(log):
                self.renewed_s, failures, self.failure = began_s, 0, ""
                wait_s = self._interval_s
            else:
                await hang_up()
                wait_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                failures += 1
            try:
                async with asyncio.timeout(wait_s):
                    await self._due.wait()
            except TimeoutError:
                pass

    async def _round(self, log: Log) -> bool:
        """Renew everything once; return whether the server has answered for every lease."""
        leases = self._held()
        if not leases:
            return True
        try:
            answers = await log.many.renew(leases, self._lease_ms)
        except LogUnavailable as error:
            self._failed(str(error))
            return False
        except Exception as error:
            # Nobody has foreseen it, so it may pass as others do; but no promise is kept while it lasts.
            if not self.failure:
                logger.exception("renewals: a round failed and is repeated")
            self._failed(repr(error))
            if time.monotonic() - self.renewed_s > self._lease_ms / 1000:
                self._give_up(f"the leases cannot be renewed: {error!r}")
            return False
        passing = [answer for answer in answers if isinstance(answer, LogUnavailable)]
        notable: list[Renewed] = [
            (stream_id, fence, answer)
            for (stream_id, fence), answer in zip(leases, answers, strict=True)
            if answer is not False and not isinstance(answer, LogUnavailable)
        ]
        if notable:
            self._tell(notable)
        if passing:
            self._failed(str(passing[0]))
        return not passing

    def _failed(self, why: str) -> None:
        if not self.failure:
            logger.warning("renewals: %s; trying again on another connection", why)
        self.failure = why
