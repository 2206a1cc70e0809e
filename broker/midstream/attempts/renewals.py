"""The thread that renews leases, so that neither an app, nor a full pool, nor a busy event loop can delay renewals.

It has an event loop and one connection of its own, and renews all leases by one pipelined call every third of a
lease. A round that fails is repeated at once on a new connection: a dead connection costs a time-out, not a lease.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

import uvloop
from redis.asyncio import Redis

from midstream import counters
from midstream.attempts.loop_watch import LoopWatch
from midstream.log.errors import LogError, LogUnavailable
from midstream.log.log import Log
from midstream.log.values import Fence

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE: Final = 3
TRIES_PER_RENEWAL: Final = 2
"""So many time-outs of one renewal fit between two renewals."""
BACKOFF_S: Final = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5)
"""Waits between failed rounds; the last one repeats. The first repetition is at once."""
LATE_LEASES: Final = 2 / 3
"""Renewals are late if no round has succeeded for this part of a lease: two in a row have failed."""
JOIN_S: Final = 5.0

Lease = tuple[str, Fence]
Renewed = tuple[str, Fence, bool | LogError]
"""A stream, the fence that was sent, and whether a client asked for a cancel, or why the lease is not ours."""


class Renewals:
    """Renews the leases that `held` returns, and calls `report` with every answer other than a plain success.

    It calls both in its own thread.

    Args:
        connect: Returns a client; the thread calls it with the time-out of one reply in seconds.
        block_s: How long the main loop may be blocked before the process ends.
        loop_watch: Tells whether the main loop is blocked.
        give_up: Ends the process, which cannot keep its leases; its argument is a sentence that says why.
    """

    def __init__(
        self,
        connect: Callable[[float], Redis],
        prefix: str,
        lease_ms: int,
        block_s: float,
        held: Callable[[], list[Lease]],
        report: Callable[[list[Renewed]], None],
        loop_watch: LoopWatch,
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
        self._report = report
        self._loop_watch = loop_watch
        self._give_up = give_up
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_dead = False
        self._thread_ended: Future[None] = Future()
        self._due: asyncio.Event
        self._look_due: asyncio.Event
        self._task: asyncio.Task[None]

    @property
    def late_s(self) -> float:
        """For how many seconds no round has succeeded, if that is too long and there are leases; otherwise 0."""
        since_s = time.monotonic() - self.renewed_s
        return since_s if since_s > LATE_LEASES * self._lease_ms / 1000 and self._held() else 0.0

    @property
    def is_alive(self) -> bool:
        """Whether the thread renews."""
        return not self._thread_ended.done() and not self._is_dead

    def start(self) -> None:
        """Begin to renew, and to watch the main loop."""
        started = threading.Event()
        self.renewed_s = time.monotonic()
        self._thread = threading.Thread(target=self._main, args=(started,), name="renewals", daemon=True)
        self._thread.start()
        started.wait(JOIN_S)

    def renew_now(self) -> None:
        """Begin a round now."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._due.set)

    def look_now(self) -> None:
        """Look at the main loop now, and then as often as leases want: a calm process rests longer between looks."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._look_due.set)

    async def stop(self) -> None:
        """Stop renewing."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
            # Not by a thread of the loop's pool: blocking calls of an app may occupy all of them.
            await asyncio.wait((asyncio.wrap_future(self._thread_ended),), timeout=JOIN_S)
            self._loop = None

    def _main(self, started: threading.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run(started))
        except asyncio.CancelledError:
            return  # by `stop`
        except BaseException:
            logger.exception("renewals: the thread has died")
            self._is_dead = True
            self._give_up("nothing renews the leases of this process any more")
        finally:
            self._thread_ended.set_result(None)

    async def _run(self, started: threading.Event) -> None:
        self._due, self._look_due = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._task = task
        started.set()
        redis = self._connect(self._interval_s / TRIES_PER_RENEWAL)
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._renew_always(Log(redis, self._prefix), redis.connection_pool.disconnect))
                loops.create_task(self._watch_loop_always())
        finally:
            await redis.aclose(close_connection_pool=True)

    async def _watch_loop_always(self) -> None:
        while True:
            rest_s = self._loop_watch.look_s
            # Not `wait_for`: that of Python 3.11 forgets a cancellation that comes together with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._look_due.wait()
            self._look_due.clear()
            blocked_s, culprit = self._loop_watch.look(rest_s)
            if blocked_s > self._block_s:
                self._give_up(f"{culprit} has blocked the event loop for {blocked_s:.0f} s (MIDSTREAM_APP_BLOCK_S)")

    async def _renew_always(self, log: Log, disconnect: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            began_s = time.monotonic()
            self._due.clear()  # a call of `renew_now` during this round is for the next one
            if await self._round(log, began_s):
                self.renewed_s, failures, self.failure = began_s, 0, ""
                wait_s = self._interval_s
            else:
                await disconnect()
                wait_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                failures += 1
            try:
                async with asyncio.timeout(wait_s):
                    await self._due.wait()
            except TimeoutError:
                pass

    async def _round(self, log: Log, began_s: float) -> bool:
        """Renew every lease once; return whether the server has answered for all of them.

        Where a node of a cluster is away, its streams' leases are late, but this process is not.
        """
        leases = self._held()
        if not leases:
            return True
        try:
            answers = await log.many.renew(leases, self._lease_ms)
        except LogUnavailable as error:
            self._failed(str(error))
            return False
        except Exception as error:
            # An unexpected error may pass like the expected ones; but after a whole lease, the leases have run out.
            if not self.failure:
                logger.exception("renewals: a round failed and is repeated")
            self._failed(repr(error))
            if time.monotonic() - self.renewed_s > self._lease_ms / 1000:
                self._give_up(f"the leases cannot be renewed: {error!r}")
            return False
        unanswered = [answer for answer in answers if isinstance(answer, LogUnavailable)]
        to_report: list[Renewed] = [
            (stream_id, fence, answer)
            for (stream_id, fence), answer in zip(leases, answers, strict=True)
            if answer is not False and not isinstance(answer, LogUnavailable)
        ]
        if to_report:
            self._report(to_report)
        if unanswered:
            self._failed(str(unanswered[0]))
            if len(unanswered) < len(answers):
                self.renewed_s = began_s
        return not unanswered

    def _failed(self, why: str) -> None:
        if not self.failure:
            logger.warning("renewals: %s; trying again on another connection", why)
        self.failure = why
        counters.count("renewal_failures")
