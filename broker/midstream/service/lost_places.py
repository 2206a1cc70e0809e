"""Gives places back whose start was cut short: by a broker that was killed before the stream was created."""

import time
from typing import Final

from midstream.log.quotas import Quotas
from midstream.log.registry import Registry
from midstream.log.state import NOTHING_LEFT

LOOK_S: Final = 5.0
"""A tenant that is at its limit is looked at so often, however many starts are refused."""
OWNERS: Final = 1_000


class LostPlaces:
    """Looks for lost places where a limit refuses a start, and nowhere else (PROTOCOL: Limits/Generations)."""

    def __init__(self, quotas: Quotas, registry: Registry) -> None:
        self._quotas = quotas
        self._registry = registry
        self._looked_s: dict[str, float] = {}

    async def free(self, owner: str) -> bool:
        """Free the lost places among those that a tenant, user or key holds; return whether there were any.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s.get(owner, -LOOK_S) < LOOK_S:
            return False
        if len(self._looked_s) >= OWNERS:
            self._looked_s.clear()
        self._looked_s[owner] = now_s
        lost = await self._quotas.lost(owner)
        await self._registry.unwatch(dict.fromkeys(lost, NOTHING_LEFT))
        return bool(lost)
