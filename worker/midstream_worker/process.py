"""How a worker process is put together."""

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import Redis

from midstream import counters
from midstream.app_registry import with_app_modules
from midstream.attempts.lease import LeaseKeeper
from midstream.file_watch import FileWatch
from midstream.lifecycle.presence import Presence, new_process_name
from midstream.lifecycle.queue_readings import queue_readings
from midstream.lifecycle.queue_road import QUEUE_VARIABLE, queue_client
from midstream.lifecycle.reaper import Reaper
from midstream.log.cluster_feed import feed_of
from midstream.log.connect import connect, pool_readings
from midstream.log.disk_proof import prove_disk
from midstream.log.durability import examine, refuse_unfit, replicas_to_wait_for
from midstream.log.errors import LogUnavailable
from midstream.log.roll import Roll
from midstream.settings import Settings
from midstream_worker.on_end import OnEnd
from midstream_worker.parts import WorkerParts
from midstream_worker.pickup import Pickup, arq_redis
from midstream_worker.producers import Producers

if TYPE_CHECKING:
    from midstream.metrics.listener import MetricsListener

logger = logging.getLogger(__name__)

REDIS_WAIT_S: Final = 0.5
ROWS: Final = 500
"""How many of its generations a worker names on the roll."""
GAVE_UP: Final = 70
"""Exit status of a process that cannot keep what it promises (EX_SOFTWARE)."""


class Process:
    """One worker process; `run` returns when it was stopped and everything is drained."""

    def __init__(self, settings: Settings, *, handle_signals: bool = True) -> None:
        self.ready = asyncio.Event()
        settings = with_app_modules(settings)
        self._settings = settings
        self._handle_signals = handle_signals
        self._stopped = asyncio.Event()
        self._redis = self._connect(settings.redis_connections)
        # The queue and the claims have a pool of their own, so that busy appends delay no claim.
        self._claims_redis = self._connect(settings.redis_connections)
        self._queue_redis = queue_client(settings, self._redis)
        self._parts = parts = WorkerParts.connected(settings, self._redis, self._claims_redis, self._queue_redis)
        parts.sources.warm()
        folder = str(Path(__file__).parent)
        self._leases = LeaseKeeper(settings, lambda timeout_s: self._connect(1, timeout_s), _give_up, folder)
        self.name = new_process_name()
        self._producers = Producers(parts, self._leases, self.name)
        roll = Roll(self._redis, settings.key_prefix, self._queue_redis)
        self._presence = Presence(roll, "worker", self.name, self._facts, self.stop)
        self._on_end = OnEnd(self._redis, parts.log, settings)
        self._reaper = Reaper(parts.log, parts.registry, parts.slips, settings, parts.clock, parts.tracing)
        keys = parts.log.keys
        self._pickup = Pickup(
            arq_redis(queue_client(settings, self._claims_redis).connection_pool, keys),
            keys,
            parts.slips,
            self._producers,
            on_startup=self._on_startup,
            on_shutdown=self._on_shutdown,
            handle_signals=False,
        )
        # The log's server publishes cancels, and the queue's that there are slips.
        regained_by = {self._queue_redis: self._pickup.wake} | {self._redis: self._catch_up}
        self._feeds = {
            client: feed_of(client, self._pickup.take_messages, regained, settings.redis_timeout_s)
            for client, regained in regained_by.items()
        }
        self._controls = {self._queue_redis: {keys.control}}
        self._controls.setdefault(self._redis, set()).update(shard.control for shard in keys.shards)
        self._prices = FileWatch(settings.prices_file, settings.price_table.read_again)
        self._metrics: MetricsListener | None = None

    async def run(self) -> None:
        """Take and run generations until SIGTERM or SIGINT."""
        with self._signals():
            await self._start_metrics()
            taking = asyncio.create_task(self._take(), name="taking")
            stopping = asyncio.create_task(self._stopped.wait(), name="stopping")
            await asyncio.wait((taking, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            taking.cancel()
            await asyncio.wait((taking, stopping))
            await self._pickup.close()
            if self._metrics is not None:
                await self._metrics.stop()
        if not taking.cancelled():
            taking.result()

    def stop(self) -> None:
        """Stop as on SIGTERM."""
        self._stopped.set()

    async def readings(self) -> dict[tuple[str, ...], float]:
        """Return what an operator wants to know of this process and of the queue, by name and labels."""
        own = {
            ("draining",): float(self._stopped.is_set()),
            ("generations_max",): self._settings.max_generations,
            ("renewal_age_seconds",): self._leases.renewal_age_s,
        }
        states = {("generations", state): number for state, number in self._producers.states().items()}
        return own | states | self._on_end.readings() | await queue_readings(self._parts.slips)

    def _facts(self) -> dict[str, Any]:
        """Return what this worker says of itself on the roll."""
        states = self._producers.states()
        generations = self._producers.rows(ROWS)
        return {
            "draining": self._stopped.is_set(),
            "slots": self._settings.max_generations,
            "free": max(0, self._producers.free),
            "states": states,
            "generations": generations,
            "generations_left_out": max(0, sum(states.values()) - len(generations)),
            "lease_ms": self._settings.lease_ms,
            "renewal_age_ms": round(self._leases.renewal_age_s * 1000),
            "late_renewals": counters.counts().get(("renewal_failures",), 0),
            "pool": pool_readings(*{self._redis, self._claims_redis, self._queue_redis}),
        }

    async def _start_metrics(self) -> None:
        """Listen for Prometheus, where the settings name a port.

        Raises:
            MetricsPortError: It is taken.
        """
        listener = self._settings.metrics_listener()
        if listener is not None:
            from midstream.metrics.listener import MetricsListener  # noqa: PLC0415 - the library takes its time

            self._metrics = MetricsListener("worker", self.readings, self._settings.own_hosts)
            await self._metrics.start(listener)

    async def _take(self) -> None:
        while True:
            try:
                await self._parts.registry.ping()
                await refuse_unfit(self._redis)
                await refuse_unfit(self._queue_redis, QUEUE_VARIABLE)
                await self._parts.slips.waiting()
                if self._settings.durable_intent:
                    await prove_disk(self._redis, self._parts.fsync)
                self._parts.fsync.replicas = await replicas_to_wait_for(
                    self._redis, must_wait=self._settings.durable_intent
                )
                break
            except LogUnavailable as error:
                logger.warning("waiting for Redis: %s", error)
                await asyncio.sleep(REDIS_WAIT_S)
        await self._pickup.main()

    async def _on_startup(self, _ctx: dict[str, Any]) -> None:
        for sentence in await examine(self._redis):
            logger.warning("%s", sentence)
        await self._parts.sources.open_apps()
        for client, feed in self._feeds.items():
            feed.start()
            await asyncio.gather(*map(feed.subscribe, self._controls[client]))
        self._leases.start()
        self._reaper.start()
        self._presence.start()
        self._prices.start()
        await self._on_end.start()
        self.ready.set()
        logger.info("worker ready: up to %d generations at once", self._settings.max_generations)

    async def _on_shutdown(self, _ctx: dict[str, Any]) -> None:
        await self._producers.drain(self._settings.drain_s)
        await self._presence.stop()
        await self._prices.stop()
        await self._on_end.stop()
        await self._reaper.stop()
        await self._leases.stop()
        for feed in self._feeds.values():
            await feed.stop()
        for client in {self._redis, self._claims_redis, self._queue_redis}:
            await client.aclose(close_connection_pool=True)
        await self._parts.tracing.stop()

    def _catch_up(self) -> None:
        """After a gap in the feed, look at the queue for missed wake-ups, and at every lease for missed cancels."""
        self._pickup.wake()
        self._leases.renew_all()

    @contextlib.contextmanager
    def _signals(self) -> Any:
        """Stop at SIGTERM and SIGINT, also while the process still waits for Redis."""
        loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT) if self._handle_signals else ()
        for number in numbers:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _connect(self, connections: int, timeout_s: float | None = None) -> Redis:
        settings = self._settings
        bound_s = min(settings.redis_timeout_s, timeout_s or settings.redis_timeout_s)
        return connect(settings.redis_address, bound_s, connections)


def _give_up(why: str) -> None:
    """End the process at once; its leases run out, and the reapers of others take care of its streams.

    Any thread may call this: the main one may never run again.
    """
    logger.critical("this worker ends: %s", why)
    logging.shutdown()
    os._exit(GAVE_UP)
