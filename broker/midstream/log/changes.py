"""Which streams have changed: those that run, and those that have ended since a look (PROTOCOL: Operate/Facts)."""

import asyncio
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from midstream.log.connect import keys_of
from midstream.log.keys import Keys
from midstream.log.scripts import Scripts

BEGINNING: Final = "0-0"
"""The position before the first end."""
PAGE: Final = 2_000
"""Ends that are read in one round trip."""


@dataclass(frozen=True, slots=True)
class News:
    """What has happened since a position in the list of ends.

    Attributes:
        now_ms: The server's time.
        live: The streams that run or wait for a worker, and some that have just ended.
        ended: Those that have ended, or were deleted after their end, since the position.
        position: The position after them.
        is_complete: Whether the list of ends still reaches back to the position.
    """

    now_ms: int
    live: frozenset[str]
    ended: list[str]
    position: str
    is_complete: bool


class Changes:
    """Reads what changes under one key prefix. Raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)

    async def since(self, position: str, most_live: int) -> News:
        """Return what has happened since a position, with up to `most_live` streams that run."""
        if len(self._keys.shards) > 1:
            return await self._of_shards(position, most_live)
        return await self._of_shard(self._keys, position, most_live)

    async def _of_shards(self, position: str, most_live: int) -> News:
        """Return what has happened on a cluster, whose position is that in each shard's list, with blanks between."""
        positions = position.split() if position != BEGINNING else [BEGINNING] * len(self._keys.shards)
        news = await asyncio.gather(
            *(self._of_shard(keys, each, most_live) for keys, each in zip(self._keys.shards, positions, strict=True))
        )
        return News(
            min(each.now_ms for each in news),
            frozenset().union(*(each.live for each in news)),
            [name for each in news for name in each.ended],
            " ".join(each.position for each in news),
            all(each.is_complete for each in news),
        )

    async def _of_shard(self, keys: Keys, position: str, most_live: int) -> News:
        page = ("XRANGE", keys.ended, position, "+", "COUNT", PAGE)
        (seconds, microseconds), live, rows = await self._scripts.in_order(
            ("TIME",), ("ZRANGE", keys.due, 0, most_live - 1), page
        )
        # The first row is the last one of the time before, unless the list was cut or lost since.
        is_complete = position == BEGINNING or bool(rows and rows[0][0].decode() == position)
        ended: list[str] = []
        while rows:
            ended += [name.decode() for row_id, (_, name) in rows if row_id.decode() != position]
            position = rows[-1][0].decode()
            if len(rows) < PAGE:
                break
            (rows,) = await self._scripts.in_order(("XRANGE", keys.ended, f"({position}", "+", "COUNT", PAGE))
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return News(now_ms, frozenset(name.decode() for name in live), ended, position, is_complete)
