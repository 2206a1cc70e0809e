"""The sums of what streams have cost (PROTOCOL: Money/Counted). Scripts write them; operators alone read them here."""

from datetime import date, timedelta
from typing import Final

from redis.asyncio import Redis

from midstream.log.connect import keys_of
from midstream.log.keys import stream_name
from midstream.log.scripts import Scripts

DAYS_KEPT: Final = 100
MONTH_DAYS: Final = 28
MONTHS_DAYS_KEPT: Final = 400
OTHERS: Final = ""
"""The row without a name."""


class Costs:
    """The sums under one key prefix."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)

    async def day(self, kind: str, currency: str, day: str) -> dict[str, int]:
        """Return the rows of a kind for a day (`2026-11-22`), in billionths of the currency.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        rows: dict[str, int] = {}
        tables = (f"{keys.costs}:{kind}:{currency}:{day}" for keys in self._keys.shards)
        for words in await self._scripts.in_order(*(("HGETALL", table) for table in tables)):
            for row, nano in zip(words[::2], words[1::2], strict=True):
                rows[row.decode()] = rows.get(row.decode(), 0) + int(nano)  # each shard has a row `OTHERS`
        return rows

    async def forget_user(self, tenant: str, user: str, currency: str, today: date) -> None:
        """Move what a user has cost into the row without a name, in two round trips. Raises as `day`."""
        days = {f"{today - timedelta(days=number)}" for number in range(-1, DAYS_KEPT + 1)}
        months = {f"{today - timedelta(days=number):%Y-%m}" for number in range(0, MONTHS_DAYS_KEPT, MONTH_DAYS)}
        costs = self._keys.near(stream_name(tenant, "")).costs
        keys = [f"{costs}:user:{currency}:{period}" for period in sorted(days | months)]
        row = f"{tenant}/{user}"
        amounts = await self._scripts.in_order(*(("HGET", key, row) for key in keys))
        moves = [
            command
            for key, nano in zip(keys, amounts, strict=True)
            if nano is not None
            for command in (("HDEL", key, row), ("HINCRBY", key, OTHERS, nano))
        ]
        if moves:
            await self._scripts.in_order(*moves)
