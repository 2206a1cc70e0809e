"""Keeps the leases of all attempts of a process, and hears cancels.

Renewal runs every third of a lease. A loop that was blocked for longer is not fooled silently: the late
renewal itself asks the server whether the stream is still ours, and every append asks again (I6).
"""

import asyncio
import logging
import time
from typing import Final, Protocol

from midstream.log.errors import LogFull, LogUnavailable
from midstream_worker.attempt import Attempt, Lost

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE: Final = 3


class Stoppable(Protocol):
    """A running generation, as far as its lease goes."""

    attempt: Attempt

    def stop(self, reason: str) -> None:
        """Stop producing: `cancelled` or `lost`."""
        ...


class LeaseKeeper:
    """Renews until `stop`; a generation is known to it from `add` to `remove`."""

    def __init__(self, lease_ms: int) -> None:
        self._interval_s = lease_ms / 1000 / RENEWALS_PER_LEASE
        self._lease_s = lease_ms / 1000
        self._held: dict[str, Stoppable] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to renew."""
        self._task = asyncio.create_task(self._run(), name="leases")

    async def stop(self) -> None:
        """Renew no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def add(self, generation: Stoppable) -> None:
        """Keep a generation's lease."""
        self._held[generation.attempt.stream_id] = generation

    def remove(self, generation: Stoppable) -> None:
        """Keep it no longer."""
        if self._held.get(generation.attempt.stream_id) is generation:
            del self._held[generation.attempt.stream_id]

    def cancel(self, stream_id: str) -> None:
        """A cancel was asked for; nothing happens where the stream is not ours."""
        generation = self._held.get(stream_id)
        if generation is not None:
            generation.stop("cancelled")

    async def renew_all(self) -> None:
        """Renew every lease now, and hear what was missed meanwhile."""
        await asyncio.gather(*(self._renew(generation) for generation in tuple(self._held.values())))

    async def _run(self) -> None:
        while True:
            due_s = time.monotonic() + self._interval_s
            await asyncio.sleep(self._interval_s)
            late_s = time.monotonic() - due_s
            if late_s > self._interval_s:
                logger.warning("the event loop was blocked for %.1f s; asking whether the leases still hold", late_s)
            await self.renew_all()

    async def _renew(self, generation: Stoppable) -> None:
        attempt = generation.attempt
        if attempt.sealed:
            return  # only the disk is waited for
        try:
            if await attempt.renew():
                generation.stop("cancelled")
        except Lost as error:
            if not attempt.sealed:  # else the end was written while we asked
                logger.warning("stream %s is lost to us: %s", attempt.stream_id, error)
                generation.stop("lost")
        except (LogUnavailable, LogFull) as error:
            silent_s = time.monotonic() - attempt.renewed_s
            if silent_s > self._lease_s:
                logger.warning("the lease of %s ran out %.1f s ago: %s", attempt.stream_id, silent_s, error)
