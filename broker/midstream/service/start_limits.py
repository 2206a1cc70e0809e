"""Whether the limits and budgets of its tenant, user and key let a start in (PROTOCOL: Limits/Starts)."""

import logging
import math

from redis.asyncio import Redis

from midstream.access.refusals import BudgetExceededError, LimitExceededError
from midstream.log.connect import keys_of
from midstream.log.creation import Creation
from midstream.log.errors import LogUnavailable
from midstream.log.quotas import Excess, Quotas, Start, counted
from midstream.log.registry import Registry
from midstream.log.scripts import Scripts
from midstream.log.values import NewStream
from midstream.service.budget_warnings import rest_of_period_s
from midstream.service.lost_places import LostPlaces
from midstream.settings import Settings

logger = logging.getLogger(__name__)


class StartLimits:
    """Counts the starts of all callers of one process, in Redis, and creates their streams."""

    def __init__(self, settings: Settings, redis: Redis, registry: Registry) -> None:
        self._settings = settings
        self._quotas = Quotas(redis, settings.key_prefix, life_ms=round(settings.longest_life_s * 1000))
        self._lost_places = LostPlaces(self._quotas, registry)
        self._creation = Creation(Scripts(redis), keys_of(redis, settings.key_prefix), registry)

    async def count(self, start: Start) -> Excess | list[int]:
        """Count a start, and return what its budgets have spent; or which limit refuses it.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        try:
            answer = await self._quotas.admit(start)
            if isinstance(answer, Excess) and await self._lost_places.free(start.owner(answer.of)):
                answer = await self._quotas.admit(start)
        except LogUnavailable:
            if not self._settings.start_uncounted:
                raise
            sentence = "stream %s is started uncounted: Redis could not say whether a limit is reached"
            logger.warning(sentence, start.name)
            return []
        return answer

    async def create(self, start: Start, new: NewStream, look_in_ms: int) -> tuple[Excess | list[int], int | None]:
        """Count a start as `count` does, and create its stream as `Log.create` does unless a limit refuses it.

        Return the answers of both. They take one round trip; two where a start may go on uncounted, because one script
        would fail as a whole.
        """
        settings, call = self._settings, self._quotas.call(start)
        if call is None or settings.start_uncounted:
            answer = await self.count(start)
            if isinstance(answer, Excess):
                return answer, None
            return answer, await self._creation.run(start.name, new, look_in_ms, settings.longest_life_s)

        async def both() -> tuple[Excess | list[int], int | None]:
            answer, created_ms = await self._creation.run_admitted(
                start.name, new, call, look_in_ms, settings.longest_life_s
            )
            return counted(answer), created_ms

        answer, created_ms = await both()
        if isinstance(answer, Excess) and await self._lost_places.free(start.owner(answer.of)):
            return await both()
        return answer, created_ms


def refusal_of(excess: Excess) -> LimitExceededError | BudgetExceededError:
    """Return the error that tells a client of an excess."""
    period = excess.limit.removesuffix("_budget")
    if period != excess.limit:
        return BudgetExceededError(excess.of, period, rest_of_period_s(period))
    return LimitExceededError(excess.limit, excess.of, math.ceil(excess.retry_after_ms / 1000))
