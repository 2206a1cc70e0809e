"""The job slip: how a generation is put on the queue, by name.

arq is a wake-up and never the record of truth (FINDINGS 1): a slip carries the stream's id alone, a worker
that takes it must still claim the stream, and a lost slip is written again by the reaper.
"""

from typing import Any, Final

import orjson
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from redis.asyncio import Redis
from redis.exceptions import RedisError

from broker.log.errors import LogUnavailable
from broker.log.keys import Keys

GENERATE: Final = "generate"
WAKE: Final = b"wake"


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
        self._expires_s = expires_s
        self._arq = ArqRedis(
            pool_or_conn=redis.connection_pool,
            job_serializer=serialize,
            job_deserializer=deserialize,
            default_queue_name=self._keys.queue,
        )

    async def write(self, stream_id: str, epoch: int, *, new: bool = False) -> None:
        """Queue a stream for the attempt behind `epoch` and wake the workers.

        Nothing is queued if the slip still lies there; a `new` stream cannot have one.

        Raises:
            LogUnavailable: Redis did not answer; the reaper will write the slip.
        """
        job_id = f"{stream_id}.{epoch}"
        try:
            if new or not await self._lies(job_id):
                if not new:  # arq refuses a second job of one id for as long as half of the first one is left
                    await self._arq.delete(job_key_prefix + job_id)
                await self._arq.enqueue_job(GENERATE, stream_id, _job_id=job_id, _expires=self._expires_s)
            await self._arq.publish(self._keys.control, WAKE)
        except (RedisError, OSError) as error:
            raise LogUnavailable(str(error)) from error

    async def _lies(self, job_id: str) -> bool:
        async with self._arq.pipeline(transaction=False) as pipe:
            pipe.exists(job_key_prefix + job_id)
            pipe.zscore(self._keys.queue, job_id)
            exists, score = await pipe.execute()
        return bool(exists) and score is not None
