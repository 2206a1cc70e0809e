"""How a worker process is put together."""

import asyncio
import contextlib
import logging
import signal
from typing import Any

from redis.asyncio import Redis

from midstream.lifecycle.reaper import Reaper
from midstream.lifecycle.slips import Slips
from midstream.log.connect import connect
from midstream.log.durability import examine
from midstream.log.errors import LogUnavailable
from midstream.log.feed import Feed
from midstream.log.fsync import Fsync
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.settings import Settings
from midstream_worker.pickup import Pickup, arq_redis
from midstream_worker.producers import Producers

logger = logging.getLogger(__name__)

REDIS_WAIT_S = 0.5


class Process:
    """One worker process; `run` returns when it was told to stop and everything is drained."""

    def __init__(self, settings: Settings, *, handle_signals: bool = True) -> None:
        self.ready = asyncio.Event()
        self._settings = settings
        self._redis = self._connect()
        prefix = settings.key_prefix
        log = Log(self._redis, prefix)
        self._registry = Registry(self._redis, prefix)
        slips = Slips(self._redis, prefix, settings.queue_timeout_s)
        self._producers = Producers(log, self._registry, slips, Fsync(self._redis, prefix), settings)
        self._reaper = Reaper(log, self._registry, slips, settings)
        # arq has a pool of its own: however busy the appends are, the next job is still seen at once.
        self._pickup = Pickup(
            arq_redis(self._connect().connection_pool, log.keys),
            log.keys,
            self._producers,
            on_startup=self._opened,
            on_shutdown=self._closing,
            handle_signals=handle_signals,
        )
        self._feed = Feed(self._redis, self._pickup.hear, self._regained, settings.redis_timeout_s)
        self._control = log.keys.control
        self._background: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Take and run generations until SIGTERM or SIGINT."""
        while True:
            try:
                await self._registry.ping()
                break
            except LogUnavailable as error:
                logger.warning("waiting for Redis: %s", error)
                await asyncio.sleep(REDIS_WAIT_S)
        with contextlib.suppress(asyncio.CancelledError):  # how arq says that a signal stopped it
            await self._pickup.async_run()
        await self._pickup.close()

    def stop(self) -> None:
        """Do as on SIGTERM."""
        self._pickup.handle_sig(signal.SIGTERM)

    async def _opened(self, _ctx: dict[str, Any]) -> None:
        for sentence in await examine(self._redis):
            logger.warning("%s", sentence)
        self._feed.start()
        await self._feed.subscribe(self._control)
        self._producers.leases.start()
        self._reaper.start()
        self.ready.set()
        logger.info("worker ready: up to %d generations at once", self._settings.max_generations)

    async def _closing(self, _ctx: dict[str, Any]) -> None:
        await self._producers.drain(self._settings.drain_s)
        await self._reaper.stop()
        await self._producers.leases.stop()
        await self._feed.stop()
        for task in self._background:
            task.cancel()
        await self._redis.aclose(close_connection_pool=True)

    def _regained(self) -> None:
        """Messages may have been missed: look at the queue, and at every lease for a cancel."""
        self._pickup.wake()
        task = asyncio.get_running_loop().create_task(self._producers.leases.renew_all())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _connect(self) -> Redis:
        settings = self._settings
        return connect(settings.redis_url.get_secret_value(), settings.redis_timeout_s, settings.redis_connections)
