"""Whether the queue takes more: a start that would wait too long is refused at once (PROTOCOL: Limits/Overload)."""

import time
from typing import Final

from midstream.lifecycle.slips import Slips
from midstream.log.entries import Json
from midstream.log.errors import LogUnavailable
from midstream.log.roll import Roll

FRESH_S: Final = 1.0
"""The queue is looked at so often at most, and only when something is started."""
STALE_S: Final = 5.0
"""An older look at the queue refuses nobody."""
RETRY_AFTER_S: Final = 5


class OverloadedError(Exception):
    """The queue is too old for another start.

    Attributes:
        retry_after_s: When it is worth trying again.
    """

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"Generations wait for a worker for longer than {limit_s:g} s (MIDSTREAM_OVERLOAD_QUEUE_S).")
        self.retry_after_s = RETRY_AFTER_S


class NoWorkerError(Exception):
    """No worker lives that would run a generation."""

    def __init__(self) -> None:
        super().__init__("No worker lives: what is started waits for one.")


class Intake:
    """One process' view of the queue and of the workers.

    Args:
        slips: The queue.
        roll: The living processes.
        limit_s: Starts are refused while the oldest waiting stream has waited for longer; 0: never.
    """

    def __init__(self, slips: Slips, roll: Roll, limit_s: float) -> None:
        self._slips = slips
        self._roll = roll
        self._limit_s = limit_s
        self._looked_s = -STALE_S
        self._wait_s = 0.0
        self._has_worker = True

    async def overload(self) -> OverloadedError | None:
        """Return why a start is refused; None: it is not. A queue that cannot be looked at refuses nobody."""
        await self._look()
        return OverloadedError(self._limit_s) if 0 < self._limit_s < self._wait_s else None

    def warnings(self) -> list[Json]:
        """Return what a start is to be warned of, by the last look."""
        return [] if self._has_worker else [{"code": "no_worker", "message": str(NoWorkerError())}]

    async def require_worker(self) -> None:
        """Refuse unless a worker lives.

        Raises:
            NoWorkerError: None does.
            LogUnavailable: Redis did not answer.
        """
        if not await self._roll.lives("worker"):
            raise NoWorkerError

    async def _look(self) -> None:
        now_s = time.monotonic()
        age_s = now_s - self._looked_s
        if age_s < FRESH_S:
            return
        if age_s >= STALE_S:
            self._wait_s, self._has_worker = 0.0, True
        self._looked_s = now_s  # starts that come meanwhile go by the look before this one
        try:
            self._wait_s = await self._slips.longest_wait_s() if self._limit_s else 0.0
            self._has_worker = await self._roll.lives("worker")
        except LogUnavailable:
            self._wait_s, self._has_worker = 0.0, True
