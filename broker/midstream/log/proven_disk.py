"""Waits for the server's disk, after a proof that the server tells the truth about it (PROTOCOL: Intent/Durable)."""

import asyncio

from redis.asyncio import Redis

from midstream.log.disk_proof import prove_disk
from midstream.log.errors import LogUnavailable
from midstream.log.fsync import Fsync


class ProvenDisk:
    """The disk of the log's server, as a broker sees it: the proof is made before the first wait, once."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._fsync = Fsync(redis, prefix)
        self._proving = asyncio.Lock()
        self._is_proven = False

    async def wait(self) -> None:
        """Return once all that was written before is on disk.

        Raises:
            UnfitServer: The server could lose what it has confirmed.
            LogUnavailable: It did not say so in time, or did not answer.
        """
        async with self._proving:
            if not self._is_proven:
                await prove_disk(self._redis, self._fsync)
                self._is_proven = True
        if not await self._fsync.wait():
            raise LogUnavailable("the entries are not on the server's disk yet")
