"""Whether the limits and budgets of its tenant, user and key let a start in (PROTOCOL: Limits/Starts)."""

import logging
import math

from redis.asyncio import Redis

from midstream.access.refusals import BudgetExceededError, LimitExceededError
from midstream.log.errors import LogUnavailable
from midstream.log.quotas import Excess, Quotas, Start
from midstream.log.registry import Registry
from midstream.service.budget_warnings import rest_of_period_s
from midstream.service.lost_places import LostPlaces
from midstream.settings import Settings

logger = logging.getLogger(__name__)


class StartLimits:
    """Counts the starts of all callers of one process, in Redis."""

    def __init__(self, settings: Settings, redis: Redis, registry: Registry) -> None:
        self._settings = settings
        self._quotas = Quotas(redis, settings.key_prefix, life_ms=round(settings.longest_life_s * 1000))
        self._lost_places = LostPlaces(self._quotas, registry)

    async def count(self, start: Start) -> Excess | list[int]:
        """Count a start, and return what its budgets have spent; or which limit refuses it.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        try:
            counted = await self._quotas.admit(start)
            if isinstance(counted, Excess) and await self._lost_places.free(start.owner(counted.of)):
                counted = await self._quotas.admit(start)
        except LogUnavailable:
            if not self._settings.start_uncounted:
                raise
            sentence = "stream %s is started uncounted: Redis could not say whether a limit is reached"
            logger.warning(sentence, start.name)
            return []
        return counted


def refusal_of(excess: Excess) -> LimitExceededError | BudgetExceededError:
    """Return the error that tells a client of an excess."""
    period = excess.limit.removesuffix("_budget")
    if period != excess.limit:
        return BudgetExceededError(excess.of, period, rest_of_period_s(period))
    return LimitExceededError(excess.limit, excess.of, math.ceil(excess.retry_after_ms / 1000))
