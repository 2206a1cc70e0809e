"""How many of something each tenant has in this process: tails, waits, sockets, bytes (PROTOCOL: Limits/Tails)."""


class TenantCounts:
    """Counts for each tenant; one that has none is in no table."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def of(self, tenant: str) -> int:
        """Return how many a tenant has."""
        return self._counts.get(tenant, 0)

    def add(self, tenant: str, count: int = 1) -> None:
        """Count so many more."""
        self._counts[tenant] = self._counts.get(tenant, 0) + count

    def remove(self, tenant: str, count: int = 1) -> None:
        """Count so many less."""
        left = self._counts.pop(tenant) - count
        if left:
            self._counts[tenant] = left
