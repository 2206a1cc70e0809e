"""The sums of what streams have cost (PROTOCOL: Money/Counted). Scripts write them; operators alone read them here."""

from redis.asyncio import Redis

from midstream.log.keys import Keys
from midstream.log.scripts import Scripts


class Costs:
    """The sums under one key prefix."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._keys = Keys(prefix)
        self._scripts = Scripts(redis)

    async def day(self, kind: str, currency: str, day: str) -> dict[str, int]:
        """Return the rows of a kind for a day (`2026-11-22`), in billionths of the currency.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        (words,) = await self._scripts.in_order(("HGETALL", f"{self._keys.costs}:{kind}:{currency}:{day}"))
        return {row.decode(): int(nano) for row, nano in zip(words[::2], words[1::2], strict=True)}
