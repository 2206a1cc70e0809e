"""Waits for the server's disk, after a proof that the server tells the truth about it (PROTOCOL: Intent/Durable)."""

import asyncio

from redis.asyncio import Redis

from midstream.log.disk_proof import prove_disk
from midstream.log.errors import LogUnavailable
from midstream.log.fsync import Fsync


class ProvenDisk:
    """The disk of the log's server, as a broker sees it."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._fsync = Fsync(redis, prefix)
        self._proving = asyncio.Lock()
        self._is_proven = False

    async def prove(self) -> None:
        """Return if the server says truthfully what is on its disk; it is asked once.

        Raises:
            UnfitServer: It could lose what it has confirmed.
            LogUnavailable: It did not answer.
        """
        async with self._proving:
            if not self._is_proven:
                await prove_disk(self._redis, self._fsync)
                self._is_proven = True

    async def wait(self) -> None:
        """Return once all that was written before is on disk.

        Raises:
            LogUnavailable: The server did not say so in time, or did not answer.
        """
        if not await self._fsync.wait():
            raise LogUnavailable("the entries are not on the server's disk yet")
