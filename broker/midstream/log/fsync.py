"""Waiting until writes are on the server's disk, where it can say so (WAITAOF: Redis 7.2, Valkey), and on replicas.

One marker at a time is written and waited for, on behalf of all callers: the append-only file and the replicas keep the
order of writes, so what was written before the marker is kept when the marker is.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.cluster import ClusterRedis
from midstream.log.connect import keys_of
from midstream.log.errors import LogUnavailable
from midstream.log.keys import Keys
from midstream.log.scripts import Command, Scripts

WAIT_MS: Final = 2_000
"""Longest wait for one fsync, and for the replicas; `appendfsync everysec` takes up to about 1 s."""
MARKER_TTL_S: Final = 60
_UNABLE: Final = ("unknown command", "appendonly is disabled")
"""The errors of a server that can never say so: it is too old, or has no append-only file."""


class Fsync:
    """Group commit over one connection.

    Attributes:
        each_write: The server answers no write before it is on disk (`appendfsync always`), so that the disk need not
            be waited for.
        replicas: How many replicas have to have a write, so that a failover keeps it.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)
        self.each_write = False
        self.replicas = 0
        self._able = True
        self._round: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None

    async def wait(self) -> bool:
        """Return True once all that was written before is on disk and replicas, False if that is not said in time.

        Raises:
            LogUnavailable: The server went away meanwhile, so what was written before may be lost.
        """
        if not self._waits_for_disk and not self.replicas:
            return self.each_write
        # The caller joins the next round: one under way may have written its marker before the caller's write.
        if self._next is None:
            self._next = asyncio.create_task(self._commit(self._round), name="fsync")
            # All callers may have left by its end: asyncio would report an error that nobody has looked at.
            self._next.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._next)

    @property
    def _waits_for_disk(self) -> bool:
        return self._able and not self.each_write

    async def _commit(self, before: "asyncio.Task[bool] | None") -> bool:
        if before is not None:
            await asyncio.wait([before])
        self._round, self._next = asyncio.current_task(), None
        waits: list[Command] = [("WAITAOF", 1, 0, WAIT_MS)] if self._waits_for_disk else []
        waits += [("WAIT", self.replicas, WAIT_MS)] if self.replicas else []
        try:
            confirmed = await asyncio.gather(*(self._confirmed(keys, waits) for keys in self._one_for_each_node()))
        except LogUnavailable as error:
            if not any(words in str(error) for words in _UNABLE):
                raise
            self._able = False  # the log file has said so since the start, see durability.py
            return False
        return all(confirmed)

    async def _confirmed(self, keys: Keys, waits: Sequence[Command]) -> bool:
        mark = calls.Mark(marker=keys.marker, ttl_s=MARKER_TTL_S)
        answers: list[Any] = await self._scripts.run_before(mark, *waits)
        has_copies = not self.replicas or answers.pop() >= self.replicas
        is_on_disk = bool(answers[0][0]) if answers else self.each_write
        return has_copies and is_on_disk

    def _one_for_each_node(self) -> list[Keys]:
        if not isinstance(self._redis, ClusterRedis):
            return [self._keys]
        return [*{self._redis.owner(keys.marker): keys for keys in self._keys.shards}.values()]
