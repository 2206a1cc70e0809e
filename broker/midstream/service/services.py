"""What every door of a process stands on, opened and closed together."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from midstream.hub.hub import Hub
from midstream.lifecycle.reaper import LANES, Reaper
from midstream.lifecycle.slips import Slips
from midstream.log.chat_pointers import Chats
from midstream.log.connect import connect
from midstream.log.durability import examine, refuse_unfit
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.log.tries import Tries
from midstream.service.listing import Lists
from midstream.service.retries import Retries
from midstream.settings import Settings

logger = logging.getLogger(__name__)

REAPER_CONNECTIONS: Final = LANES


@dataclass(frozen=True, slots=True)
class House:
    """The rooms behind the doors."""

    settings: Settings
    redis: Redis
    log: Log
    registry: Registry
    chats: Chats
    retries: Retries
    slips: Slips
    hub: Hub
    lists: Lists


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[House]:
    """Open the house of one broker process; on leaving, every task and connection is closed."""
    url, prefix = settings.redis_url.get_secret_value(), settings.key_prefix
    redis = connect(url, settings.redis_timeout_s, settings.redis_connections)
    # Of its own: however many requests hold every other connection, lost streams are still looked after.
    reaping = connect(url, settings.redis_timeout_s, REAPER_CONNECTIONS)
    log, registry = Log(redis, prefix), Registry(redis, prefix)
    slips = Slips(redis, prefix, settings.queue_timeout_s)
    hub = Hub(
        log,
        redis,
        window_bytes=settings.window_bytes,
        heartbeat_ms=settings.heartbeat_ms,
        timeout_s=settings.redis_timeout_s,
        unsent_bytes=settings.unsent_bytes,
    )
    reaper = Reaper(
        Log(reaping, prefix),
        Registry(reaping, prefix),
        Slips(reaping, prefix, settings.queue_timeout_s),
        settings,
    )
    retries = Retries(Tries(redis, prefix))
    try:
        await refuse_unfit(redis)
        for sentence in await examine(redis):
            logger.warning("%s", sentence)
        await hub.start()
        reaper.start()
        retries.start()
        yield House(
            settings, redis, log, registry, Chats(redis, prefix), retries, slips, hub, Lists(log, registry, settings)
        )
    finally:
        await retries.stop()
        await reaper.stop()
        await hub.stop()
        for client in (redis, reaping):
            await client.aclose(close_connection_pool=True)
