"""Whether a start gets in: the queue's age, and the limits of its tenant, user and key (PROTOCOL: Limits)."""

import logging
import math

from redis.asyncio import Redis

from midstream.access.allowance import Allowances
from midstream.access.grant import Grant
from midstream.access.refusals import LimitExceededError
from midstream.lifecycle.slips import Slips
from midstream.log.errors import LogUnavailable
from midstream.log.log import Log
from midstream.log.quotas import Quotas
from midstream.log.registry import Registry
from midstream.service.allowed_starts import start_of
from midstream.service.intake import Intake
from midstream.service.lost_places import LostPlaces
from midstream.settings import Settings

logger = logging.getLogger(__name__)


class Admission:
    """Counts the starts of all callers of one process."""

    def __init__(self, settings: Settings, redis: Redis, log: Log, registry: Registry, slips: Slips) -> None:
        self._settings = settings
        self._log = log
        self._intake = Intake(slips, settings.overload_queue_s)
        self._quotas = Quotas(redis, settings.key_prefix, life_ms=round(settings.longest_life_s * 1000))
        self._lost_places = LostPlaces(self._quotas, registry)

    async def admit(self, name: str, grant: Grant, allowances: Allowances, size_bytes: int) -> None:
        """Count the start of the stream with this name; refuse it, unless the stream is there already.

        If the start comes to nothing after this, the reaper that looks after its name gives its place back.

        Raises:
            OverloadedError: The queue is too old.
            LimitExceededError: The tenant, the user or the key has started enough.
            LogUnavailable: Redis did not answer.
        """
        refusal = await self._intake.overload() or await self._excess(name, grant, allowances, size_bytes)
        if refusal is not None and await self._log.state(name) is None:
            raise refusal

    async def _excess(
        self, name: str, grant: Grant, allowances: Allowances, size_bytes: int
    ) -> LimitExceededError | None:
        start = start_of(name, grant, allowances, size_bytes)
        try:
            excess = await self._quotas.admit(start)
            if excess is not None and await self._lost_places.free(start.owner(excess.of)):
                excess = await self._quotas.admit(start)
        except LogUnavailable:
            if not self._settings.start_uncounted:
                raise
            logger.warning("stream %s is started uncounted: Redis could not say whether a limit is reached", name)
            return None
        if excess is None:
            return None
        return LimitExceededError(excess.limit, excess.of, math.ceil(excess.retry_after_ms / 1000))
