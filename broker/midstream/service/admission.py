"""Whether a start gets in: the queue's age, and the limits of its tenant, user and key (PROTOCOL: Limits)."""

from redis.asyncio import Redis

from midstream.access.allowance import Allowances
from midstream.access.grant import Grant
from midstream.lifecycle.slips import Slips
from midstream.lifecycle.verdict import look_again_ms
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

    async def create(
        self, name: str, grant: Grant, allowances: Allowances, new: NewStream
    ) -> tuple[int | None, list[Json]]:
        """Count the start of a stream and create it; refuse the start, unless the stream is there.

        Return when it was created (None: the same start created it before), and warnings. If the start comes to nothing
        after it was counted, the reaper that looks after its name gives its place back.

        Raises as `Log.create`, and:
            OverloadedError: The queue is too old.
            LimitExceededError: The tenant, the user or the key has started enough.
            BudgetExceededError: The tenant, the user or the key has spent enough.
            LogUnavailable: Redis did not answer.
        """
        start = start_of(name, grant, allowances, new.size_bytes, self._settings)
        is_external = new.policy == EXTERNAL  # it waits for no worker
        look_in_ms = look_again_ms(self._settings)
        refusal: Exception | None = None if is_external else await self.intake.overload()
        counted: Excess | list[int] = []
        created_ms = None
        if refusal is None:
            counted, created_ms = await self._limits.create(start, new, look_in_ms)
            refusal = refusal_of(counted) if isinstance(counted, Excess) else None
        if refusal is not None:
            if await self._log.state(name) is None:
                raise refusal
            life_s = self._settings.longest_life_s
            counted, created_ms = [], await self._log.create(name, new, look_in_ms=look_in_ms, life_s=life_s)
        spent = counted if isinstance(counted, list) else []
        warnings = [] if is_external else self.intake.warnings()
        return created_ms, warnings + self._budget_warnings.of(start.budgets, spent)
