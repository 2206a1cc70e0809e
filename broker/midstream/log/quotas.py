"""What a tenant, a user and a key may start, counted in Redis, for all brokers together (PROTOCOL: Limits/Starts)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from midstream.log.budgets import NO_BUDGETS, Budgets
from midstream.log.calls import Argument
from midstream.log.connect import keys_of
from midstream.log.keys import tenant_of
from midstream.log.scripts import Scripts
from midstream.log.start_calls import Admit

MINUTE_MS: Final = 60_000
SURELY_CREATED_MS: Final = 30_000
"""A stream is created right after its start was counted. One that is not there after so long will not be."""
CLOCK_MS: Final = 60_000
LOOKED_AT: Final = 200


@dataclass(frozen=True, slots=True)
class Quota:
    """What one tenant, user or key may start; 0 stands for no limit.

    Attributes:
        starts_per_minute: The steady rate.
        burst_s: The starts of this time may come at once; it is one start at least.
        generations: How many may be queued or running at once.
    """

    starts_per_minute: int = 0
    burst_s: float = 0.0
    generations: int = 0

    @property
    def is_none(self) -> bool:
        """Whether it limits nothing."""
        return not self.starts_per_minute and not self.generations

    @property
    def interval_ms(self) -> float:
        """The time between two starts at the steady rate."""
        return MINUTE_MS / self.starts_per_minute if self.starts_per_minute else 0.0

    @property
    def window_ms(self) -> int:
        """The time whose starts may come at once; 0 for no limit."""
        return max(round(self.burst_s * 1000), -(-MINUTE_MS // self.starts_per_minute)) if self.starts_per_minute else 0


@dataclass(frozen=True, slots=True)
class Start:
    """A start that is to be counted.

    Attributes:
        name: The stream's name.
        quotas: What its tenant, its user and its key may start, in this order, by what each is filed under.
        size_bytes: What the stream takes before its first entry.
        tenant_bytes: How much of the tenant may be stored with it; 0: any.
        budgets: What its tenant, its user and its key may spend.
    """

    name: str
    quotas: Mapping[str, tuple[str, Quota]]
    size_bytes: int
    tenant_bytes: int
    budgets: Budgets = NO_BUDGETS

    def owner(self, of: str) -> str:
        """Return what the tenant, the user or the key is filed under."""
        return next(owner for owner, (each, _) in self.quotas.items() if each == of)


@dataclass(frozen=True, slots=True)
class Excess:
    """Which limit a start exceeds, whose it is (`tenant`, `user` or `key`), and when it may be tried again."""

    limit: str
    of: str
    retry_after_ms: int


class Quotas:
    """Counts starts, what runs, and what is stored.

    Args:
        redis: The server.
        prefix: The first part of every key.
        life_ms: A stream counts as running for so long at most, even if nobody notes its end.
    """

    def __init__(self, redis: Redis, prefix: str, *, life_ms: int) -> None:
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)
        self._life_ms = life_ms

    async def admit(self, start: Start) -> Excess | list[int]:
        """Count a start and return what has been spent of each of its budgets; refuse it over a limit.

        A stream that is counted as running already takes no second place. A refused start counts for nothing.

        Raises:
            LogUnavailable: Redis did not answer, so nobody knows whether it is over a limit.
        """
        call = self.call(start)
        return [] if call is None else counted(await self._scripts.run(call))

    def call(self, start: Start) -> Admit | None:
        """Return the call that counts a start; None where nothing limits it."""
        budgets = start.budgets.words()
        if not (start.tenant_bytes or budgets) and all(quota.is_none for _, quota in start.quotas.values()):
            return None
        tenant = tenant_of(start.name)
        return Admit(
            live=self._keys.live(tenant),
            places=self._keys.places(tenant),
            stored=self._keys.stored(tenant),
            stream_name=start.name,
            life_ms=self._life_ms,
            size_bytes=start.size_bytes,
            tenant_bytes=start.tenant_bytes,
            costs=self._keys.near(start.name).costs,
            budgets=budgets,
            owners=[word for owner, (of, quota) in start.quotas.items() for word in self._words(of, owner, quota)],
        )

    async def lost(self, owner: str) -> list[str]:
        """Return the streams that have had a place for a while and do not exist: their start was cut short.

        Of those that a tenant, user or key runs, the oldest are looked at.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        (seconds, _), rows = await self._scripts.in_order(
            ("TIME",), ("ZRANGE", self._keys.live(owner), 0, LOOKED_AT - 1, "WITHSCORES")
        )
        latest_ms = int(seconds) * 1000 + self._life_ms
        names = [
            name.decode()
            for name, until_ms in zip(rows[::2], rows[1::2], strict=True)
            # A later time is from before the server's clock was set back.
            if not latest_ms - SURELY_CREATED_MS <= float(until_ms) <= latest_ms + CLOCK_MS
        ]
        exist = await self._scripts.in_order(*(("EXISTS", self._keys.state(name)) for name in names)) if names else []
        return [name for name, is_there in zip(names, exist, strict=True) if not is_there]

    def _words(self, of: str, owner: str, quota: Quota) -> tuple[Argument, ...]:
        rate = (self._keys.rate(owner), str(quota.interval_ms), quota.window_ms)
        return (of, *rate, self._keys.live(owner), quota.generations)


def counted(answer: list[Any]) -> Excess | list[int]:
    """Return what `Admit` answers: what has been spent of each budget, or the limit that refuses the start."""
    if answer[0] == b"ok":
        return [int(spent) for spent in answer[1:]]
    limit, of, retry_after_ms = answer
    return Excess(limit.decode(), of.decode(), int(retry_after_ms))
