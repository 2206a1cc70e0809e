"""The job slip, by which a generation is put on the queue.

arq only wakes workers, and the log alone is the truth (docs/findings.md: arq). A slip carries nothing but the stream's
name, a worker that takes it must still claim the stream, and a reaper writes a lost slip again. So the queue may be on
a server of its own, which may lose all that it holds (PROTOCOL: Queue/Road).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from arq.constants import in_progress_key_prefix, job_key_prefix, result_key_prefix, retry_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from redis.asyncio import Redis

from midstream.log.connect import keys_of
from midstream.log.keys import Keys
from midstream.log.redis_errors import execute
from midstream.log.values import NO_SLIP, Slip

GENERATE: Final = "generate"
WAKE: Final = b"wake"
"""Sent to all workers: there are slips."""
WAKE_FOR: Final = b"wake "
"""Sent to all workers with the name of the slip that has just been written."""
JOB_KEYS: Final = (job_key_prefix, in_progress_key_prefix, retry_key_prefix, result_key_prefix)
"""What arq keeps of a job, by the first part of its key."""
CLOCKS_APART_MS: Final = 86_400_000
"""How far a worker's clock may lag ours. arq takes a slip once the worker's own clock has reached the slip's time."""

LOOKED_AT: Final = 16
"""The oldest slips, among which that of the stream that has waited longest is looked for."""


def serialize(job: dict[str, Any]) -> bytes:
    """Return a slip as JSON. arq's default is pickle, with which anybody who can write to Redis can run code here."""
    return orjson.dumps(job, default=str)


def deserialize(slip: bytes) -> dict[str, Any]:
    """Return the slip that `serialize` has made these bytes of."""
    job: dict[str, Any] = orjson.loads(slip)
    return job


class Slips:
    """Writes job slips to the queue under one key prefix.

    Args:
        redis: A client of the queue's server.
        prefix: The first part of every key.
        expires_s: How long a slip is kept.
        log_redis: A client of the log's server; None: it is the queue's.
    """

    def __init__(self, redis: Redis, prefix: str, expires_s: float, log_redis: Redis | None = None) -> None:
        self._keys = Keys(prefix)
        self._expires_ms = round(expires_s * 1000)
        self._redis = redis
        self._log_redis = log_redis or redis
        self._log_keys = keys_of(self._log_redis, prefix)

    def of_new(self, stream_id: str) -> Slip:
        """Return the slip that the creation of a stream writes; `NO_SLIP` if the queue is on a server of its own."""
        return self._slip(stream_id, 0) if self._log_redis is self._redis else NO_SLIP

    async def write(self, stream_id: str, epoch: int, *, new: bool = False) -> None:
        """Queue a stream for the attempt after `epoch`, unless it is queued, and wake the workers.

        A `new` stream cannot be queued yet, so nothing is looked up for it. arq's own `enqueue_job` takes four round
        trips to look, and refuses a job of which half was lost.

        Raises:
            LogUnavailable: Redis did not answer; the reaper will write the slip.
        """
        is_queued = not new and not await self._missing([f"{stream_id}.{epoch}"])
        async with self._redis.pipeline(transaction=True) as pipe:
            if not is_queued:
                self._queue(pipe, stream_id, epoch)
            pipe.publish(self._keys.control, WAKE_FOR + f"{stream_id}.{epoch}".encode())
            await execute(pipe)

    async def write_many(self, epochs: Mapping[str, int]) -> None:
        """Do as `write` for many streams with their epochs, in two round trips. Raises as `write`."""
        missing = await self._missing([f"{stream_id}.{epoch}" for stream_id, epoch in epochs.items()])
        async with self._redis.pipeline(transaction=False) as pipe:
            for stream_id, _, epoch in (job_id.rpartition(".") for job_id in missing):
                self._queue(pipe, stream_id, int(epoch))
            pipe.publish(self._keys.control, WAKE)
            await execute(pipe)

    async def drop(self, stream_id: str, epoch: int) -> None:
        """Remove all that the queue holds of a stream whose last attempt has this epoch. Raises as `write`."""
        await self.drop_many({stream_id: epoch})

    async def drop_many(self, epochs: Mapping[str, int]) -> None:
        """Do as `drop` for many streams with their epochs, in one round trip. Raises as `write`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for stream_id, epoch in epochs.items():
                for number in range(epoch + 1):
                    self._remove(pipe, stream_id, number)
            await execute(pipe)

    async def remove(self, job_ids: Sequence[str]) -> None:
        """Remove slips whose streams were claimed. Raises as `write`; a slip that stays is found to be of no use."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrem(self._keys.queue, *job_ids)
            pipe.delete(*(prefix + job_id for job_id in job_ids for prefix in JOB_KEYS))
            await execute(pipe)

    async def waiting(self) -> tuple[int, float]:
        """Return how many slips no worker has taken yet, and the age of the oldest in seconds; 0: there is none.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zcard(self._keys.queue)
            pipe.zrange(self._keys.queue, 0, 0, withscores=True)
            depth, oldest = await execute(pipe)
        written_ms = oldest[0][1] + CLOCKS_APART_MS if oldest else timestamp_ms()
        return depth, max(0.0, (timestamp_ms() - written_ms) / 1000)

    async def longest_wait_s(self) -> float:
        """Return for how long the stream of the oldest slip has waited; 0: there is none. Raises as `write`.

        It goes by the clock of the log's server, because those of brokers may be far apart. Slips outlive a cancel, and
        a worker that was killed. Where more of these come first than are looked at, the wait is at most the last one's.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._keys.queue, 0, LOOKED_AT - 1, withscores=True)
            (slips,) = await execute(pipe)
        if not slips:
            return 0.0
        async with self._log_redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for job_id, _ in slips:
                pipe.hmget(self._log_keys.state(job_id.decode().rpartition(".")[0]), ["status", "queued_ms"])
            (seconds, microseconds), *rows = await execute(pipe)
        now_ms = seconds * 1000 + microseconds // 1000
        since_ms = [int(queued_ms) for status, queued_ms in rows if status == b"queued" and queued_ms]
        if not since_ms and len(slips) == LOOKED_AT:
            since_ms = [slips[-1][1] + CLOCKS_APART_MS]
        return max(0.0, float(now_ms - min(since_ms, default=now_ms)) / 1000)

    async def names(self, limit: int) -> set[str]:
        """Return the streams of up to `limit` slips that wait, the oldest first. Raises as `waiting`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._keys.queue, 0, limit - 1)
            (job_ids,) = await execute(pipe)
        return {job_id.decode().rpartition(".")[0] for job_id in job_ids}

    async def place(self, stream_id: str, epoch: int) -> int | None:
        """Return how many slips wait before that of a stream; None: it has no slip. Raises as `waiting`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrank(self._keys.queue, f"{stream_id}.{epoch}")
            (rank,) = await execute(pipe)
        return None if rank is None else int(rank)

    def _queue(self, pipe: Any, stream_id: str, epoch: int) -> None:
        """Write a slip, in place of that of the attempt before.

        A worker that was killed right after its claim has left its slip, which arq keeps marked as in progress for as
        long as a job may run. Nobody needs it any more, and it would be counted as a stream that waits.
        """
        if epoch:
            self._remove(pipe, stream_id, epoch - 1)
        slip = self._slip(stream_id, epoch)
        pipe.set(slip.job_key, slip.job, px=slip.keep_job_ms)
        pipe.zadd(slip.queue, {slip.job_id: slip.score_ms})

    def _slip(self, stream_id: str, epoch: int) -> Slip:
        job_id, now_ms = f"{stream_id}.{epoch}", timestamp_ms()
        return Slip(
            job_id=job_id,
            job_key=job_key_prefix + job_id,
            job=serialize_job(GENERATE, (stream_id,), {}, None, now_ms, serializer=serialize),
            keep_job_ms=self._expires_ms,
            queue=self._keys.queue,
            score_ms=now_ms - CLOCKS_APART_MS,
            control=self._keys.control,
            wake=WAKE_FOR + job_id.encode(),
        )

    def _remove(self, pipe: Any, stream_id: str, epoch: int) -> None:
        job_id = f"{stream_id}.{epoch}"
        pipe.zrem(self._keys.queue, job_id)
        pipe.delete(*(prefix + job_id for prefix in JOB_KEYS))

    async def _missing(self, job_ids: list[str]) -> list[str]:
        """Return those slips that no worker can take.

        A worker that died after it took a slip, and before its claim, has left arq's mark on the slip for as long as a
        job may run. All marks are removed: a worker that still lives loses nothing by that, because only one claim
        succeeds.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.delete(in_progress_key_prefix + job_id)
                pipe.exists(job_key_prefix + job_id)
                pipe.zscore(self._keys.queue, job_id)
            answers = await execute(pipe)
        slips = zip(job_ids, answers[1::3], answers[2::3], strict=True)
        return [job_id for job_id, exists, score in slips if not exists or score is None]
