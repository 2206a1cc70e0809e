"""arq's worker, changed to take jobs at once and to outlive an absent Redis (docs/findings.md: arq).

A job is short: it ends when its stream is claimed. The generation then runs as a task of our own, so arq never
times it out, never runs it twice, and has no running job that its polling could trip over.
"""

import asyncio
import contextlib
import logging
from typing import Any, Final

from arq import Retry
from arq.connections import ArqRedis
from arq.worker import Worker
from redis.exceptions import RedisError

from midstream.lifecycle.slips import GENERATE, WAKE, deserialize, serialize
from midstream.log.errors import LogUnavailable, StaleEpoch, StreamAbsent, StreamSealed
from midstream.log.keys import Keys
from midstream_worker.producers import Producers
from midstream_worker.tested_arq import check_arq

logger = logging.getLogger(__name__)

POLL_S: Final = 0.5
"""How often the queue is polled without a wake-up, in case one got lost."""
JOB_TIMEOUT_S: Final = 10
CLAIMS_S: Final = 2.0
"""How long a worker that stops waits for claims that are under way."""
RETRY_S: Final = 0.5
PRODUCERS: Final = "producers"


async def generate(ctx: dict[str, Any], stream_id: str) -> None:
    """Claim a stream; its generation goes on after this job, the only kind that there is, has ended."""
    producers: Producers = ctx[PRODUCERS]
    try:
        await producers.take(stream_id)
    except (StaleEpoch, StreamSealed, StreamAbsent) as error:
        logger.debug("nothing to do for %s: %s", stream_id, error, extra={"stream": stream_id})
    except LogUnavailable as error:
        raise Retry(defer=RETRY_S) from error


class Pickup(Worker):
    """Polls when it is woken, for as many jobs as the process has room for; an absent Redis does not end it."""

    def __init__(self, redis: ArqRedis, keys: Keys, producers: Producers, **hooks: Any) -> None:
        self._producers = producers
        self._polling = asyncio.Lock()
        self._woken: asyncio.Task[None] | None = None
        self._again = False
        self._open = False
        super().__init__(
            functions=[generate],
            queue_name=keys.queue,
            health_check_key=f"{keys.queue}:health",
            redis_pool=redis,
            ctx={PRODUCERS: producers},
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
        producers.when_free(self.wake)
        assert GENERATE in self.functions  # noqa: S101 - jobs are queued under this name

    def wake(self) -> None:
        """Poll now, or once more after a poll that is under way."""
        if self._woken is not None and not self._woken.done():
            self._again = True
        elif self._open:
            self._woken = self.loop.create_task(self._poll_while_woken(), name="pickup")

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
            elif message.startswith(b"cancel "):
                self._producers.leases.cancel(message[len(b"cancel ") :].decode())

    async def close(self) -> None:
        """Let claims that are under way finish, then drain and close everything."""
        tasks = [*self.tasks.values(), *([self._woken] if self._woken else [])]
        if tasks:
            await asyncio.wait(tasks, timeout=CLAIMS_S)
        for task in tasks:
            task.cancel()  # Redis is away: a stream claimed in vain is queued again when its lease runs out
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(CLAIMS_S):
                await self.pool.delete(self.health_check_key)
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        await self.pool.aclose(close_connection_pool=True)  # arq's own `close` calls what redis-py deprecated

    async def _poll_while_woken(self) -> None:
        self._again = True
        while self._again and self._open:
            self._again = False
            await self._poll_iteration()

    async def _poll_iteration(self) -> None:
        async with self._polling:
            starting = sum(not task.done() for task in self.tasks.values())
            self.queue_read_limit = self._producers.free - starting
            try:
                if self.queue_read_limit > 0:
                    await super()._poll_iteration()
            except (RedisError, OSError) as error:
                logger.warning("the queue could not be polled: %s", error)
            except Exception:
                logger.exception("the queue could not be polled")  # unexpected, but no reason to stop polling


def arq_redis(pool: Any, keys: Keys) -> ArqRedis:
    """Return arq's client on one of our connection pools."""
    return ArqRedis(
        pool_or_conn=pool,
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=keys.queue,
    )
