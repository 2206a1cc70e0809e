"""Keeps the leases of all attempts of a process, and hears cancels.

A thread renews them (see renewals.py); here, on the main loop, is known whose they are, and what is to happen to
a generation whose lease is lost or whose cancel was asked for. Every append asks again (I6).
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from redis.asyncio import Redis

from midstream.log.errors import LogUnavailable, StaleEpoch
from midstream.settings import Settings
from midstream_worker.attempt import Attempt, Lost
from midstream_worker.conclusion import Stop
from midstream_worker.renewals import Lease, Renewals, Renewed
from midstream_worker.turning import Turning

logger = logging.getLogger(__name__)


class Stoppable(Protocol):
    """A running generation, as far as its lease goes."""

    attempt: Attempt

    def stop(self, reason: Stop) -> None:
        """Stop producing: `CANCELLED` or `LOST`."""
        ...


class LeaseKeeper:
    """Renews until `stop`; a generation is known to it from `add` to `remove`.

    Args:
        connect: Returns a client of the server, for the time-out of one reply in seconds.
        give_up: Ends the process: it cannot keep its leases.
    """

    def __init__(self, settings: Settings, connect: Callable[[float], Redis], give_up: Callable[[str], None]) -> None:
        self._held: dict[str, Stoppable] = {}
        self._guard = threading.Lock()
        self._turning = Turning(self._model_of)
        self._renewals = Renewals(
            connect,
            settings.key_prefix,
            settings.lease_ms,
            settings.app_block_s,
            self._leases,
            self._heard_elsewhere,
            self._turning,
            give_up,
        )
        self._loop: asyncio.AbstractEventLoop
        self._overloaded = False
        self._reclaims: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to renew."""
        self._loop = asyncio.get_running_loop()
        self._turning.start()
        self._renewals.start()

    async def stop(self) -> None:
        """Renew no longer."""
        await self._renewals.stop()
        self._turning.stop()
        for task in self._reclaims:
            task.cancel()
        await asyncio.gather(*self._reclaims, return_exceptions=True)

    def add(self, generation: Stoppable) -> None:
        """Keep a generation's lease."""
        with self._guard:
            self._held[generation.attempt.stream_id] = generation

    def remove(self, generation: Stoppable) -> None:
        """Keep it no longer."""
        with self._guard:
            if self._held.get(generation.attempt.stream_id) is generation:
                del self._held[generation.attempt.stream_id]

    def cancel(self, stream_id: str) -> None:
        """A cancel was asked for; nothing happens where the stream is not ours."""
        generation = self._held.get(stream_id)
        if generation is not None:
            generation.stop(Stop.CANCELLED)

    def renew_all(self) -> None:
        """Renew every lease now, and hear what was missed meanwhile."""
        self._renewals.renew_now()

    @property
    def overloaded(self) -> bool:
        """Whether renewals are late, so that no further stream must be taken; said once, and once when it is over."""
        late_s = self._renewals.late_s
        if late_s and not self._overloaded:
            why = self._renewals.failure or "this worker does not get to it"
            logger.warning(
                "overloaded: no lease was renewed for %.1f s (%s); taking no more streams until they are", late_s, why
            )
        elif self._overloaded and not late_s:
            logger.warning("leases are renewed in time again; taking streams")
        self._overloaded = bool(late_s)
        return self._overloaded

    def _leases(self) -> list[Lease]:
        """Return all that are to be renewed; once sealed, a stream has none. Called by the thread."""
        with self._guard:
            attempts = [generation.attempt for generation in self._held.values()]
        return [(attempt.stream_id, attempt.fence) for attempt in attempts if not attempt.sealed]

    def _model_of(self, stream_id: str) -> str:
        generation = self._held.get(stream_id)
        return generation.attempt.state.model if generation is not None else ""

    def _heard_elsewhere(self, renewed: list[Renewed]) -> None:
        self._loop.call_soon_threadsafe(self._heard, renewed)

    def _heard(self, renewed: list[Renewed]) -> None:
        for stream_id, fence, answer in renewed:
            generation = self._held.get(stream_id)
            if generation is None or generation.attempt.fence != fence or generation.attempt.sealed:
                continue  # its end was written while the server was asked
            if answer is True:
                generation.stop(Stop.CANCELLED)
            elif isinstance(answer, StaleEpoch) and answer.current < fence.epoch:
                task = self._loop.create_task(self._reclaim(generation), name=f"reclaim {stream_id}")
                self._reclaims.add(task)
                task.add_done_callback(self._reclaims.discard)
            else:
                self._lost(generation, answer)

    async def _reclaim(self, generation: Stoppable) -> None:
        """The server has lost even our claim: take it again (PROTOCOL: Append/Rollback)."""
        try:
            if await generation.attempt.renew():
                generation.stop(Stop.CANCELLED)
        except Lost as error:
            if not generation.attempt.sealed:
                self._lost(generation, error)
        except LogUnavailable as error:
            logger.warning("stream %s could not be claimed again yet: %s", generation.attempt.stream_id, error)

    def _lost(self, generation: Stoppable, why: object) -> None:
        logger.warning("stream %s is lost to us: %s", generation.attempt.stream_id, why)
        generation.stop(Stop.LOST)
