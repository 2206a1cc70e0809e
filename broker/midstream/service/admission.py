"""Whether a start gets in: the queue's age, and the limits of its tenant, user and key (PROTOCOL: Limits)."""

from redis.asyncio import Redis

from midstream.access.allowance import Allowances
from midstream.access.grant import Grant
from midstream.lifecycle.slips import Slips
from midstream.log.entries import Json
from midstream.log.log import Log
from midstream.log.quotas import Excess
from midstream.log.registry import Registry
from midstream.log.roll import Roll
from midstream.log.state import EXTERNAL
from midstream.log.values import NewStream
from midstream.service.allowed_starts import start_of
from midstream.service.budget_warnings import BudgetWarnings
from midstream.service.intake import Intake
from midstream.service.start_limits import StartLimits, refusal_of
from midstream.settings import Settings


class Admission:
    """Counts the starts of all callers of one process.

    Attributes:
        intake: The process' view of the queue and of the workers.
    """

    def __init__(self, settings: Settings, redis: Redis, log: Log, registry: Registry, slips: Slips) -> None:
        self._settings = settings
        self._log = log
        self.intake = Intake(slips, Roll(redis, settings.key_prefix), settings.overload_queue_s)
        self._limits = StartLimits(settings, redis, registry)
        self._budget_warnings = BudgetWarnings(settings.budget_warn_percent)

    async def admit(self, name: str, grant: Grant, allowances: Allowances, new: NewStream) -> list[Json]:
        """Count the start of the stream with this name and return warnings; refuse it, unless the stream is there.

        If the start comes to nothing after this, the reaper that looks after its name gives its place back.

        Raises:
            OverloadedError: The queue is too old.
            LimitExceededError: The tenant, the user or the key has started enough.
            BudgetExceededError: The tenant, the user or the key has spent enough.
            LogUnavailable: Redis did not answer.
        """
        start = start_of(name, grant, allowances, new.size_bytes, self._settings)
        is_external = new.policy == EXTERNAL  # it waits for no worker
        refusal: Exception | None = None if is_external else await self.intake.overload()
        spent: list[int] = []
        if refusal is None:
            counted = await self._limits.count(start)
            if isinstance(counted, Excess):
                refusal = refusal_of(counted)
            else:
                spent = counted
        if refusal is not None and await self._log.state(name) is None:
            raise refusal
        return ([] if is_external else self.intake.warnings()) + self._budget_warnings.of(start.budgets, spent)
