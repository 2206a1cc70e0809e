"""What the service layer of one broker process works with, opened and closed together."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import Redis

from midstream.access.ids import OPEN_SECRET
from midstream.ends.webhooks import Webhooks
from midstream.file_watch import FileWatch
from midstream.finder.finder import Finder
from midstream.hub.hub import Hub
from midstream.hub.tenant_counts import TenantCounts
from midstream.lifecycle.queue_road import QUEUE_VARIABLE, queue_client
from midstream.lifecycle.reaper import LANES, Reaper
from midstream.lifecycle.slips import Slips
from midstream.log.changes import Changes
from midstream.log.chat_pointers import Chats
from midstream.log.connect import connect
from midstream.log.durability import examine, refuse_unfit
from midstream.log.facts import FactReader
from midstream.log.installation import installation_secret
from midstream.log.log import Log
from midstream.log.proven_disk import ProvenDisk
from midstream.log.registry import Registry
from midstream.log.saved import SavedStates
from midstream.log.threads import Threads
from midstream.log.trail import Trail
from midstream.log.tries import Tries
from midstream.service.admission import Admission
from midstream.service.credentials import Credentials
from midstream.service.grant_ends import GrantEnds
from midstream.service.listing import Lists
from midstream.service.operations import Operations
from midstream.service.retries import Retries
from midstream.service.shared_secret import SharedSecret
from midstream.service.token_counter import open_token_counter
from midstream.settings import Settings
from midstream.traces.open_tracing import open_tracing
from midstream.traces.tracing import Tracing

logger = logging.getLogger(__name__)

REAPER_CONNECTIONS: Final = LANES


@dataclass(frozen=True, slots=True)
class Resources:
    """The rooms below, for streams of all tenants. Only `service` holds them; endpoints hold `Services`."""

    settings: Settings
    secret: SharedSecret
    credentials: Credentials
    grant_ends: GrantEnds
    log: Log
    registry: Registry
    admission: Admission
    chats: Chats
    retries: Retries
    slips: Slips
    hub: Hub
    lists: Lists
    finder: Finder
    trail: Trail
    tracing: Tracing
    operations: Operations
    webhooks: Webhooks
    saved: SavedStates
    threads: Threads
    disk: ProvenDisk
    tokens_of: Callable[[str], int] | None
    waits: TenantCounts = field(default_factory=TenantCounts)
    sockets: TenantCounts = field(default_factory=TenantCounts)
    bodies_bytes: TenantCounts = field(default_factory=TenantCounts)


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Connect and start the background work of one broker process; on leaving, all of it is closed.

    Raises:
        UnfitServer: The server can hold no log.
        LogUnavailable: Redis did not answer.
    """
    tokens_of, tracing = await open_token_counter(settings.tokenizer), open_tracing("broker", settings)
    url, prefix = settings.redis_address, settings.key_prefix
    redis = connect(url, settings.redis_timeout_s, settings.redis_connections)
    # The reaper has connections of its own: it must look after lost streams even when requests hold all others.
    reaper_redis = connect(url, settings.redis_timeout_s, REAPER_CONNECTIONS)
    queue_redis, reaper_queue_redis = queue_client(settings, redis), queue_client(settings, reaper_redis)
    log, registry = Log(redis, prefix), Registry(redis, prefix)
    hub, reaper = _hub(log, redis, settings), _reaper(reaper_redis, reaper_queue_redis, settings, tracing)
    retries, slips = Retries(Tries(redis, prefix)), Slips(queue_redis, prefix, settings.queue_timeout_s, redis)
    facts = FactReader(redis, prefix)
    lists, finder = Lists(facts, registry, settings), Finder(facts, registry, Changes(redis, prefix), settings)
    admission, chats = Admission(settings, redis, log, registry, slips), Chats(redis, prefix)
    operations, webhooks = Operations(redis, queue_redis, log, hub, settings), Webhooks(redis, log, settings)
    prices = FileWatch(settings.prices_file, settings.price_table.read_again)
    credentials: Credentials | None = None
    grant_ends: GrantEnds | None = None
    try:
        await refuse_unfit(redis)
        await refuse_unfit(queue_redis, QUEUE_VARIABLE)
        for sentence in await examine(redis):
            logger.warning("%s", sentence)
        # An open broker has one tenant, from which nothing is to be kept.
        first = OPEN_SECRET if settings.is_open else await installation_secret(redis, prefix)
        secret = SharedSecret(redis, prefix, first)
        credentials = Credentials(settings, secret)
        grant_ends = GrantEnds(credentials, hub.tails_and_waits)
        await hub.start()
        credentials.start()
        reaper.start()
        retries.start()
        prices.start()
        await webhooks.start()
        await operations.start()
        yield Resources(
            *(settings, secret, credentials, grant_ends, log, registry, admission, chats, retries, slips, hub),
            *(lists, finder, Trail(redis, prefix), tracing, operations, webhooks),
            *(SavedStates(redis, prefix), Threads(redis, prefix), ProvenDisk(redis, prefix), tokens_of),
        )
    finally:
        finder.close()
        await operations.stop()
        if grant_ends is not None:
            grant_ends.stop()
        if credentials is not None:
            await credentials.stop()
        await prices.stop()
        await webhooks.stop()
        await retries.stop()
        await reaper.stop()
        await hub.stop()
        for client in {redis, queue_redis, reaper_redis, reaper_queue_redis}:
            await client.aclose(close_connection_pool=True)
        await tracing.stop()


def _reaper(redis: Redis, queue_redis: Redis, settings: Settings, tracing: Tracing) -> Reaper:
    prefix = settings.key_prefix
    slips = Slips(queue_redis, prefix, settings.queue_timeout_s, redis)
    return Reaper(Log(redis, prefix), Registry(redis, prefix), slips, settings, tracing=tracing)


def _hub(log: Log, redis: Redis, settings: Settings) -> Hub:
    return Hub(
        log,
        redis,
        window_bytes=settings.window_bytes,
        heartbeat_ms=settings.heartbeat_ms,
        timeout_s=settings.redis_timeout_s,
        unsent_bytes=settings.unsent_bytes,
    )
