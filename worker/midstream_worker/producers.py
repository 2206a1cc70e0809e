"""All generations of a worker process: claimed, run, and drained when the worker stops."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from midstream.attempts.attempt import Attempt
from midstream.attempts.conclusion import Stop
from midstream.attempts.lease import LeaseKeeper
from midstream.log.errors import LogError
from midstream.log.owners import new_owner
from midstream_worker.generation import STATES, Generation
from midstream_worker.parts import WorkerParts

logger = logging.getLogger(__name__)

END_S: Final = 5.0
"""How long a drain waits, once its time is up, for the ends that it has asked for to be written."""
CANCEL_S: Final = 1.0


class Producers:
    """Runs up to `max_generations` attempts at once, each as a task of its own.

    Args:
        parts: The parts of this worker.
        leases: Keeps the leases of what runs.
        name: The name of this worker process, with which the owner's word of each claim begins.
    """

    def __init__(self, parts: WorkerParts, leases: LeaseKeeper, name: str) -> None:
        self.leases = leases
        self._name = name
        self._parts = parts
        self._running: dict[asyncio.Task[None], Generation] = {}
        self._on_free: Callable[[], None] = lambda: None

    @property
    def free(self) -> int:
        """How many more generations may be taken; none while this worker does not get to renew its leases."""
        return 0 if self.leases.overloaded else self._parts.settings.max_generations - len(self._running)

    def states(self) -> dict[str, int]:
        """Return how many generations are in each state."""
        return dict.fromkeys(STATES, 0) | Counter(generation.progress for generation in self._running.values())

    def rows(self, most: int) -> list[dict[str, Any]]:
        """Return what up to `most` generations do, those that have run for longest first."""
        return [generation.row for generation in islice(self._running.values(), most)]

    def when_free(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever a generation has ended."""
        self._on_free = call

    async def take(self, stream_id: str) -> None:
        """Claim a stream and start its attempt; return as soon as the lease is ours.

        Raises:
            StaleEpoch, StreamSealed, StreamAbsent: There is nothing to do.
            LogUnavailable: Redis did not answer.
        """
        began_s = time.monotonic()
        attempt, body = await Attempt.claim(self._parts, stream_id, new_owner(self._name))
        attempt.trace = self._parts.tracing.attempt(stream_id, attempt.state, time.monotonic() - began_s)
        unwatched_ms = 0
        if attempt.look is not None and attempt.look.due_ms is not None:
            unwatched_ms = self._parts.clock.age_ms(attempt.look.due_ms, attempt.look.now_ms)
        generation = Generation(self._parts, attempt, body, unwatched_ms)
        self.leases.add(generation)
        task = asyncio.create_task(self._run(generation), name=f"generation {stream_id}")
        self._running[task] = generation
        task.add_done_callback(self._ended)

    async def drain(self, drain_s: float) -> None:
        """Let what runs finish for `drain_s`, then give back to the queue what can be and seal the rest truthfully.

        Returns within `drain_s` and a few seconds, whatever apps and Redis do: a stream whose end could not be
        written by then is left to the reapers.
        """
        if self._running:
            logger.info("draining %d generations for up to %g s", len(self._running), drain_s)
            until_s = time.monotonic() + drain_s
            # Again and again: a stream may be claimed late, by a poll of the queue that was under way at the stop.
            while self._running and (left_s := until_s - time.monotonic()) > 0:
                await asyncio.wait(self._running, timeout=left_s)
        for generation in self._running.values():
            generation.stop(Stop.DRAINED)
        if self._running:
            await asyncio.wait(self._running, timeout=END_S)
        if self._running:
            logger.warning("the ends of %d streams could not be written; left to the reapers", len(self._running))
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running, timeout=CANCEL_S)
        await self._parts.sources.aclose()

    async def _run(self, generation: Generation) -> None:
        stream_id = generation.attempt.stream_id
        try:
            if await generation.run():
                await self._parts.slips.write(stream_id, generation.attempt.fence.epoch)
        except LogError as error:
            logger.warning("stream %s is left to the reaper: %s", stream_id, error, extra={"stream": stream_id})
        finally:
            self.leases.remove(generation)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and task.exception() is not None:
            logger.error("a generation's task failed; its lease will run out", exc_info=task.exception())
        self._on_free()
