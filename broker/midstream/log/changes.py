"""Which streams have changed: those that run, and those that have ended since a look (PROTOCOL: Operate/Facts)."""

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

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
        self._keys = Keys(prefix)
        self._scripts = Scripts(redis)

    async def since(self, position: str, most_live: int) -> News:
        """Return what has happened since a position, with up to `most_live` streams that run."""
        page = ("XRANGE", self._keys.ended, position, "+", "COUNT", PAGE)
        (seconds, microseconds), live, rows = await self._scripts.in_order(
            ("TIME",), ("ZRANGE", self._keys.due, 0, most_live - 1), page
        )
        # The first row is the last one of the time before, unless the list was cut or lost since.
        is_complete = position == BEGINNING or bool(rows and rows[0][0].decode() == position)
        ended: list[str] = []
        while rows:
            ended += [name.decode() for row_id, (_, name) in rows if row_id.decode() != position]
            position = rows[-1][0].decode()
            if len(rows) < PAGE:
                break
            (rows,) = await self._scripts.in_order(("XRANGE", self._keys.ended, f"({position}", "+", "COUNT", PAGE))
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return News(now_ms, frozenset(name.decode() for name in live), ended, position, is_complete)
