"""What a tenant and a user may start, counted in Redis and so for all brokers together (PROTOCOL: Limits/Starts)."""

from dataclasses import dataclass

from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.keys import Keys, tenant_of
from midstream.log.scripts import Scripts

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Quota:
    """What one tenant or one user may start; 0 stands for no limit.

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


NO_QUOTA = Quota()


@dataclass(frozen=True, slots=True)
class Excess:
    """Which limit a start exceeds, whose it is (`tenant` or `user`), and when it may be tried again."""

    limit: str
    of: str
    retry_after_ms: int


class Quotas:
    """Counts starts and what runs.

    Args:
        redis: The server.
        prefix: The first part of every key.
        life_ms: A stream counts as running for so long at most, even if nobody notes its end.
        of_tenant: What each tenant may start.
        of_user: What each user of a tenant may start.
    """

    def __init__(self, redis: Redis, prefix: str, *, life_ms: int, of_tenant: Quota, of_user: Quota) -> None:
        self._keys = Keys(prefix)
        self._scripts = Scripts(redis)
        self._life_ms = life_ms
        self._of_tenant = of_tenant
        self._of_user = of_user

    async def admit(self, name: str, owner: str) -> Excess | None:
        """Count the start of a stream for its tenant, and for its owner where that is a user; refuse it over a limit.

        A stream that is counted as running already takes no second place. A refused start counts for nothing.

        Raises:
            LogUnavailable: Redis did not answer. Nothing may be started then.
        """
        tenant = tenant_of(name)
        of_user = NO_QUOTA if owner == tenant else self._of_user
        if self._of_tenant.is_none and of_user.is_none:
            return None
        call = calls.Admit(
            tenant_rate=self._keys.rate(tenant),
            tenant_live=self._keys.live(tenant),
            user_rate=self._keys.rate(owner),
            user_live=self._keys.live(owner),
            slot=self._keys.slot(name),
            stream_id=name,
            life_ms=self._life_ms,
            tenant_interval_ms=str(self._of_tenant.interval_ms),
            tenant_window_ms=self._of_tenant.window_ms,
            tenant_most=self._of_tenant.generations,
            user_interval_ms=str(of_user.interval_ms),
            user_window_ms=of_user.window_ms,
            user_most=of_user.generations,
        )
        answer = await self._scripts.run(call)
        if answer[0] == b"ok":
            return None
        limit, of, retry_after_ms = answer
        return Excess(limit.decode(), of.decode(), int(retry_after_ms))
