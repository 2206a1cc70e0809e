"""arq's worker, changed to take jobs at once and to outlive an absent Redis (docs/findings.md: arq).

A stream whose slip has just been written is claimed without arq, in one round trip (PROTOCOL: Queue/Direct). arq takes
all slips that had to wait, and those whose message was lost.

A job is short: it ends when its stream is claimed. The generation then runs as a task of our own, so arq never
times it out, never runs it twice, and has no running job that its polling could trip over.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Any, Final

from arq import Retry
from arq.connections import ArqRedis
from arq.worker import Worker
from redis.exceptions import RedisError

from midstream.lifecycle.slips import GENERATE, WAKE, WAKE_FOR, Slips, deserialize, serialize
from midstream.log.errors import LogUnavailable, NewerFormat, StaleEpoch, StreamAbsent, StreamSealed
from midstream.log.keys import Keys
from midstream_worker.producers import Producers
from midstream_worker.tested_arq import check_arq

logger = logging.getLogger(__name__)

POLL_S: Final = 2.0
"""How often the queue is polled without a wake-up, in case one got lost on a connection that seemed to live."""
JOB_TIMEOUT_S: Final = 10
CLAIMS_S: Final = 2.0
"""How long a worker that stops waits for a poll and claims that are under way, together."""
RETRY_S: Final = 0.5
"""When a claim or a poll is tried again to which Redis gave no answer."""
REMOVE_AFTER_S: Final = 0.01
"""When the slips of streams that were claimed without arq are removed, so that no generation waits for that."""
PRODUCERS: Final = "producers"
WAKE_LATER: Final = "wake later"


async def generate(ctx: dict[str, Any], stream_id: str) -> None:
    """Claim a stream; its generation goes on after this job, the only kind that there is, has ended."""
    producers: Producers = ctx[PRODUCERS]
    try:
        await producers.take(stream_id)
    except (StaleEpoch, StreamSealed, StreamAbsent) as error:
        logger.debug("nothing to do for %s: %s", stream_id, error, extra={"stream": stream_id})
    except LogUnavailable as error:  # also of a newer format: the slip stays, and a newer worker may get it
        ctx[WAKE_LATER]()
        raise Retry(defer=RETRY_S) from error


class Pickup(Worker):
    """Takes as many jobs as the process has room for: those that are announced, and those that it finds by polling.

    It polls when it is woken and every `POLL_S`. An absent Redis does not end it.
    """

    def __init__(self, redis: ArqRedis, keys: Keys, slips: Slips, producers: Producers, **hooks: Any) -> None:
        self._slips = slips
        self._producers = producers
        self._claims: set[asyncio.Task[None]] = set()
        self._claimed: list[str] = []
        self._announced: list[str] = []
        self._removing: asyncio.Task[None] | None = None
        self._has_seen_all = False
        """Whether the queue can hold no slip older than the next one announced, which may then be claimed at once."""
        self._polling = asyncio.Lock()
        self._woken: asyncio.Task[None] | None = None
        self._again = False
        self._later: asyncio.TimerHandle | None = None
        self._open = False
        super().__init__(
            functions=[generate],
            queue_name=keys.queue,
            health_check_key=f"{keys.queue}:health",
            redis_pool=redis,
            ctx={PRODUCERS: producers, WAKE_LATER: self._wake_later},
            max_jobs=max(1, producers.free),
            job_timeout=JOB_TIMEOUT_S,
            keep_result=0,
            poll_delay=POLL_S,
            job_serializer=serialize,
            job_deserializer=deserialize,
            log_results=False,
            **hooks,
        )
        check_arq(self)
        producers.when_free(self._room_came)
        assert GENERATE in self.functions  # noqa: S101 - jobs are queued under this name

    def wake(self) -> None:
        """Poll now, or once more after a poll that is under way."""
        self._has_seen_all, self._again = False, True
        if self._open and (self._woken is None or self._woken.done()):
            self._woken = self.loop.create_task(self._poll_while_woken(), name="pickup")

    def _wake_later(self) -> None:
        """Poll when a slip that could not be claimed may be tried again, which is a little after `RETRY_S`."""
        if self._later is None:
            self._later = self.loop.call_later(1.1 * RETRY_S, self._wake_now)

    def _wake_now(self) -> None:
        self._later = None
        self.wake()

    async def main(self) -> None:
        """Poll until cancelled."""
        self._open = True
        try:
            await super().main()
        finally:
            self._open = False

    def take_messages(self, messages: list[tuple[str, bytes]]) -> None:
        """Act on messages of the control channel: wake-ups and cancels."""
        for _, message in messages:
            if message == WAKE:
                self.wake()
            elif message.startswith(WAKE_FOR):
                self._take_up(message.removeprefix(WAKE_FOR).decode())
            elif message.startswith(b"cancel "):
                self._producers.leases.cancel(message[len(b"cancel ") :].decode())

    async def close(self) -> None:
        """Let a poll and claims that are under way finish, then drain and close everything."""
        until_s = time.monotonic() + CLAIMS_S
        await _finished([self._woken] if self._woken else [], until_s)
        await _finished([*self.tasks.values(), *self._claims], until_s)  # only now: the poll may have added some
        await _finished([self._removing] if self._removing else [], until_s)
        forgetting = self.loop.create_task(self._forget_health(), name="forget health")  # beside the drain
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        await forgetting
        await self.pool.aclose(close_connection_pool=True)  # arq's own `close` calls what redis-py deprecated

    async def _forget_health(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(CLAIMS_S):
                await self.pool.delete(self.health_check_key)

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start what a poll has found, and note whether that is all that there is."""
        self._has_seen_all = len(job_ids) < self.queue_read_limit and not self._again
        mine = {*self._claimed, *(task.get_name() for task in self._claims)}
        await super().start_jobs([job_id for job_id in job_ids if job_id.decode() not in mine])

    @property
    def _room(self) -> int:
        starting = sum(not task.done() for task in self.tasks.values())
        return self._producers.free - starting - len(self._claims)

    def _room_came(self) -> None:
        if not self._has_seen_all:
            self.wake()

    def _take_up(self, job_id: str) -> None:
        """Claim the stream of a slip that has just been written, unless older slips may wait."""
        if not self._open:
            return  # the slip is for others
        if self._polling.locked() or self._again:
            self._announced.append(job_id)  # the poll finds out if there are older ones
        elif self._has_seen_all and self._room > 0:
            self._start_claim(job_id)
        else:
            self.wake()

    def _take_up_announced(self) -> None:
        """Take up what was announced during a poll, unless the poll found it already."""
        announced, self._announced = self._announced, []
        for job_id in announced:
            if not self._has_seen_all or self._room <= 0:
                self.wake()
                return  # all others wait in the queue
            if job_id not in self.tasks:
                self._start_claim(job_id)

    def _start_claim(self, job_id: str) -> None:
        task = self.loop.create_task(self._claim(job_id), name=job_id)
        self._claims.add(task)
        task.add_done_callback(self._claims.discard)

    async def _claim(self, job_id: str) -> None:
        stream_id = job_id.rpartition(".")[0]
        try:
            await self._producers.take(stream_id)
        except (StaleEpoch, StreamSealed, StreamAbsent, NewerFormat) as error:
            logger.debug("left to another worker: %s: %s", stream_id, error, extra={"stream": stream_id})
        except LogUnavailable as error:
            logger.warning("stream %s was not claimed, its slip waits: %s", stream_id, error)
            self._has_seen_all = False
            self._wake_later()
        else:
            self._claimed.append(job_id)
            if self._removing is None or self._removing.done():
                self._removing = self.loop.create_task(self._remove_claimed(), name="remove slips")

    async def _remove_claimed(self) -> None:
        while self._claimed:
            await asyncio.sleep(REMOVE_AFTER_S)
            job_ids, self._claimed = self._claimed, []
            with contextlib.suppress(LogUnavailable):  # a slip that stays is taken, and found to be of no use
                await self._slips.remove(job_ids)

    async def _poll_while_woken(self) -> None:
        while self._again and self._open:
            self._again = False
            await self._poll_iteration()

    async def _poll_iteration(self) -> None:
        async with self._polling:
            self.queue_read_limit = self._room
            try:
                if self.queue_read_limit > 0:
                    await super()._poll_iteration()
            except (RedisError, OSError) as error:
                logger.warning("the queue could not be polled: %s", error)
                self._wake_later()
            except Exception:
                logger.exception("the queue could not be polled")  # unexpected, but no reason to stop polling
        if not self._again:
            self._take_up_announced()


async def _finished(tasks: Iterable[asyncio.Task[Any]], until_s: float) -> None:
    """Wait for tasks, and cancel them where Redis is away: what they claimed is queued again after its lease."""
    under_way = [*tasks]
    if under_way:
        await asyncio.wait(under_way, timeout=max(0, until_s - time.monotonic()))
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)


def arq_redis(pool: Any, keys: Keys) -> ArqRedis:
    """Return arq's client on one of our connection pools."""
    return ArqRedis(
        pool_or_conn=pool,
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=keys.queue,
    )
