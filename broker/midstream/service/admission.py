"""Whether a start gets in: the queue's age, and the limits of its tenant, user and key (PROTOCOL: Limits)."""

import logging
import math

from redis.asyncio import Redis

from midstream.access.allowance import Allowances
from midstream.access.grant import Grant
from midstream.access.refusals import BudgetExceededError, LimitExceededError
from midstream.lifecycle.slips import Slips
from midstream.log.entries import Json
from midstream.log.errors import LogUnavailable
from midstream.log.log import Log
from midstream.log.quotas import Excess, Quotas, Start
from midstream.log.registry import Registry
from midstream.log.roll import Roll
from midstream.service.allowed_starts import start_of
from midstream.service.budget_warnings import BudgetWarnings, rest_of_period_s
from midstream.service.intake import Intake
from midstream.service.lost_places import LostPlaces
from midstream.settings import Settings

logger = logging.getLogger(__name__)


class Admission:
    """Counts the starts of all callers of one process.

    Attributes:
        intake: The process' view of the queue and of the workers.
    """

    def __init__(self, settings: Settings, redis: Redis, log: Log, registry: Registry, slips: Slips) -> None:
        self._settings = settings
        self._log = log
        self.intake = Intake(slips, Roll(redis, settings.key_prefix), settings.overload_queue_s)
        self._quotas = Quotas(redis, settings.key_prefix, life_ms=round(settings.longest_life_s * 1000))
        self._lost_places = LostPlaces(self._quotas, registry)
        self._budget_warnings = BudgetWarnings(settings.budget_warn_percent)

    async def admit(self, name: str, grant: Grant, allowances: Allowances, size_bytes: int) -> list[Json]:
        """Count the start of the stream with this name and return warnings; refuse it, unless the stream is there.

        If the start comes to nothing after this, the reaper that looks after its name gives its place back.

        Raises:
            OverloadedError: The queue is too old.
            LimitExceededError: The tenant, the user or the key has started enough.
            BudgetExceededError: The tenant, the user or the key has spent enough.
            LogUnavailable: Redis did not answer.
        """
        start = start_of(name, grant, allowances, size_bytes, self._settings)
        refusal: Exception | None = await self.intake.overload()
        spent: list[int] = []
        if refusal is None:
            counted = await self._counted(start)
            if isinstance(counted, Excess):
                refusal = _refusal(counted)
            else:
                spent = counted
        if refusal is not None and await self._log.state(name) is None:
            raise refusal
        return self.intake.warnings() + self._budget_warnings.of(start.budgets, spent)

    async def _counted(self, start: Start) -> Excess | list[int]:
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


def _refusal(excess: Excess) -> LimitExceededError | BudgetExceededError:
    period = excess.limit.removesuffix("_budget")
    if period != excess.limit:
        return BudgetExceededError(excess.of, period, rest_of_period_s(period))
    return LimitExceededError(excess.limit, excess.of, math.ceil(excess.retry_after_ms / 1000))
