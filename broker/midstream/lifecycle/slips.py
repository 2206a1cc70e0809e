"""The job slip: how a generation is put on the queue, by name.

arq is a wake-up and never the record of truth (docs/findings.md: arq): a slip carries the stream's id alone, a worker
that takes it must still claim the stream, and a lost slip is written again by the reaper.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from arq.constants import in_progress_key_prefix, job_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from redis.asyncio import Redis

from midstream.log.keys import Keys
from midstream.log.redis_errors import executed

GENERATE: Final = "generate"
WAKE: Final = b"wake"
CLOCKS_APART_MS: Final = 86_400_000
"""arq takes a slip when the worker's own clock has reached its time: by so much a worker's clock may be behind ours."""


def serialize(job: dict[str, Any]) -> bytes:
    """Return a slip's bytes. JSON, because arq's default, pickle, runs code for whoever can write to Redis."""
    return orjson.dumps(job, default=str)


def deserialize(slip: bytes) -> dict[str, Any]:
    """Return the slip whose bytes these are."""
    job: dict[str, Any] = orjson.loads(slip)
    return job


class Slips:
    """Writes job slips to the queue under one key prefix."""

    def __init__(self, redis: Redis, prefix: str, expires_s: float) -> None:
        self._keys = Keys(prefix)
        self._expires_ms = round(expires_s * 1000)
        self._redis = redis

    async def write(self, stream_id: str, epoch: int, *, new: bool = False) -> None:
        """Queue a stream for the attempt behind `epoch` and wake the workers.

        Nothing is queued if the slip still lies there; a `new` stream cannot have one. arq's own `enqueue_job`
        takes four round trips to make sure of what is known here, and refuses a job of which half was lost.

        Raises:
            LogUnavailable: Redis did not answer; the reaper will write the slip.
        """
        job_id = f"{stream_id}.{epoch}"
        now_ms = timestamp_ms()
        job = serialize_job(GENERATE, (stream_id,), {}, None, now_ms, serializer=serialize)
        queued = not new and not await self._missing([job_id])
        async with self._redis.pipeline(transaction=True) as pipe:
            if not queued:
                pipe.set(job_key_prefix + job_id, job, px=self._expires_ms)
                pipe.zadd(self._keys.queue, {job_id: now_ms - CLOCKS_APART_MS})
            pipe.publish(self._keys.control, WAKE)
            await executed(pipe)

    async def write_many(self, epochs: Mapping[str, int]) -> None:
        """Do as `write` for many streams, in two round trips. Raises as that."""
        missing = await self._missing([f"{stream_id}.{epoch}" for stream_id, epoch in epochs.items()])
        now_ms = timestamp_ms()
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in missing:
                job = serialize_job(GENERATE, (job_id.partition(".")[0],), {}, None, now_ms, serializer=serialize)
                pipe.set(job_key_prefix + job_id, job, px=self._expires_ms)
                pipe.zadd(self._keys.queue, {job_id: now_ms - CLOCKS_APART_MS})
            pipe.publish(self._keys.control, WAKE)
            await executed(pipe)

    async def _missing(self, job_ids: list[str]) -> list[str]:
        """Return the slips that cannot be taken.

        A worker that died between the slip and the claim has left arq's mark on it, for as long as a job may run;
        a worker that still lives loses nothing by its mark's removal: one claim alone succeeds.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.delete(in_progress_key_prefix + job_id)
                pipe.exists(job_key_prefix + job_id)
                pipe.zscore(self._keys.queue, job_id)
            answers = await executed(pipe)
        found = zip(job_ids, answers[1::3], answers[2::3], strict=True)
        return [job_id for job_id, exists, score in found if not exists or score is None]
