"""All generations of a worker process: taken from the queue, run, drained."""

import asyncio
import logging
import secrets
from collections.abc import Callable

from midstream.lifecycle.slips import Slips
from midstream.log.errors import LogError
from midstream.log.fsync import Fsync
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.requests.request import GenerationRequest
from midstream.settings import Settings
from midstream_worker.attempt import Attempt
from midstream_worker.generation import Generation
from midstream_worker.lease import LeaseKeeper
from midstream_worker.sources.providers import Sources

logger = logging.getLogger(__name__)


class Producers:
    """Runs up to `max_generations` attempts at once, each as a task of its own."""

    def __init__(self, log: Log, registry: Registry, slips: Slips, fsync: Fsync, settings: Settings) -> None:
        self.leases = LeaseKeeper(settings.lease_ms)
        self._log = log
        self._registry = registry
        self._slips = slips
        self._fsync = fsync
        self._settings = settings
        self._sources = Sources(settings)
        self._sources.warm()
        self._running: dict[asyncio.Task[None], Generation] = {}
        self._on_free: Callable[[], None] = lambda: None

    @property
    def free(self) -> int:
        """How many more generations may be taken."""
        return self._settings.max_generations - len(self._running)

    def when_free(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever a generation has ended."""
        self._on_free = call

    async def take(self, stream_id: str) -> None:
        """Claim a stream and start its attempt; return as soon as the lease is ours.

        Raises:
            StaleEpoch, StreamSealed, StreamAbsent: There is nothing to do.
            LogUnavailable: Redis did not answer.
        """
        attempt, body = await Attempt.claim(
            self._log, self._fsync, stream_id, secrets.token_hex(8), self._settings.lease_ms
        )
        request = GenerationRequest.model_validate_json(body)
        generation = Generation(self._log, self._sources, self._settings, attempt, request)
        self.leases.add(generation)
        task = asyncio.create_task(self._run(generation), name=f"generation {stream_id}")
        self._running[task] = generation
        task.add_done_callback(self._ended)

    async def drain(self, drain_s: float) -> None:
        """Let what runs finish for `drain_s`, then hand over what can be and seal the rest truthfully."""
        if self._running:
            logger.info("draining %d generations for up to %g s", len(self._running), drain_s)
            await asyncio.wait(self._running, timeout=drain_s)
        for generation in self._running.values():
            generation.stop("drained")
        if self._running:
            await asyncio.wait(self._running)
        await self._sources.aclose()

    async def _run(self, generation: Generation) -> None:
        stream_id = generation.attempt.stream_id
        try:
            await generation.run()
            if generation.handed_over:
                await self._slips.write(stream_id, generation.attempt.fence.epoch)
            else:
                await self._unwatch(stream_id)
        except LogError as error:
            logger.warning("stream %s is left to the reaper: %s", stream_id, error)
        finally:
            self.leases.remove(generation)

    async def _unwatch(self, stream_id: str) -> None:
        """Spare the reapers a look; one that was lost to another attempt is still watched."""
        state = await self._log.state(stream_id)
        if state is None or state.ended:
            await self._registry.unwatch(stream_id)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and task.exception() is not None:
            logger.error("a generation's task failed; its lease will run out", exc_info=task.exception())
        self._on_free()
