"""What operators have done, in a Redis stream of bounded length (PROTOCOL: Operate/Audit)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson
from redis.asyncio import Redis

from midstream.log.connect import keys_of
from midstream.log.scripts import Scripts

KEEP_S: Final = 366 * 86_400
"""How long the trail stays after its last row."""
FIELD: Final = "d"


class TrailRow(NamedTuple):
    """One row: its id, which later rows exceed, the server's time in ms, and what it says."""

    id: str
    time_ms: int
    facts: dict[str, Any]


class Trail:
    """The trail under one key prefix. Raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._key = keys_of(redis, prefix).trail
        self._scripts = Scripts(redis)

    async def add(self, facts: Mapping[str, Any], most: int) -> None:
        """Add a row; beyond about `most` of them the oldest ones go."""
        await self._scripts.in_order(
            ("XADD", self._key, "MAXLEN", "~", most, "*", FIELD, orjson.dumps(facts)), ("EXPIRE", self._key, KEEP_S)
        )

    async def after(self, row_id: str, limit: int) -> list[TrailRow]:
        """Return up to `limit` rows after the one with this id, which need not exist; oldest first."""
        (rows,) = await self._scripts.in_order(("XRANGE", self._key, f"({row_id}", "+", "COUNT", limit))
        return [_row(*row) for row in rows]

    async def newest(self, limit: int) -> list[TrailRow]:
        """Return the last `limit` rows, oldest first."""
        (rows,) = await self._scripts.in_order(("XREVRANGE", self._key, "+", "-", "COUNT", limit))
        return [_row(*row) for row in reversed(rows)]


def _row(row_id: bytes, fields: list[bytes]) -> TrailRow:
    return TrailRow(row_id.decode(), int(row_id.partition(b"-")[0]), orjson.loads(fields[1]))
