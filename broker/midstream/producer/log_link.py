"""What all producers of one event loop share: connections to the log, the leases, and the feed of cancels."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis.asyncio import Redis

from midstream.access.ids import OPEN_SECRET
from midstream.attempts.attempt_parts import AttemptParts
from midstream.attempts.lease import LeaseKeeper
from midstream.attempts.write_delays import WriteDelays
from midstream.lifecycle.presence import new_process_name
from midstream.log.cluster_feed import feed_of
from midstream.log.connect import connect
from midstream.log.disk_proof import prove_disk
from midstream.log.durability import refuse_unfit, replicas_to_wait_for
from midstream.log.fsync import Fsync
from midstream.log.installation import kept_secret
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.service.start_limits import StartLimits
from midstream.settings import Settings

logger = logging.getLogger(__name__)

CANCEL: Final = b"cancel "


class LogLink:
    """The link of one event loop's producers to one log. `linked` opens it with the first of them.

    Attributes:
        name: Of this process, for operators.
        settings: Those of the program.
        log: The log.
        parts: What attempts are made with.
        registry: The lists of streams.
        limits: Counts starts.
        leases: Keeps the producers' leases.
        users: How many producers use the link.
        is_broken: It keeps no leases any more, so that another one is opened for the next producer.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = new_process_name()
        self.settings = settings
        self._redis = self._connect(settings.redis_timeout_s, settings.redis_connections)
        prefix = settings.key_prefix
        self.log = log = Log(self._redis, prefix)
        self._fsync = Fsync(self._redis, prefix)
        self.parts = AttemptParts(settings, log, log, self._fsync, WriteDelays())
        self.registry = Registry(self._redis, prefix)
        self.limits = StartLimits(settings, self._redis, self.registry)
        self.leases = LeaseKeeper(settings, lambda timeout_s: self._connect(timeout_s, 1), self._give_up)
        self._feed = feed_of(self._redis, self._take_messages, self.leases.renew_all, settings.redis_timeout_s)
        self._opening = asyncio.Lock()
        self._is_open = False
        self.users = 0
        self.is_broken = False

    async def secret(self) -> bytes:
        """Return the installation's secret, or the constant of open brokers where Redis has none.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        return await kept_secret(self._redis, self.settings.key_prefix) or OPEN_SECRET

    async def open(self) -> None:
        """Begin to keep leases and to hear of cancels; nothing happens if that has begun.

        Raises:
            LogUnavailable: Redis did not answer.
            UnfitServer: It can hold no log.
        """
        async with self._opening:
            if not self._is_open:
                await refuse_unfit(self._redis)
                await self.registry.ping()
                if self.settings.durable_intent:
                    await prove_disk(self._redis, self._fsync)
                self._fsync.replicas = await replicas_to_wait_for(self._redis, must_wait=self.settings.durable_intent)
                self._feed.start()
                await asyncio.gather(*(self._feed.subscribe(shard.control) for shard in self.log.keys.shards))
                self.leases.start()
                self._is_open = True

    async def close(self) -> None:
        """Close everything."""
        if self._is_open:
            await self.leases.stop()
        await self._feed.stop()
        await self._redis.aclose(close_connection_pool=True)

    def _take_messages(self, messages: list[tuple[str, bytes]]) -> None:
        for _, message in messages:
            if message.startswith(CANCEL):
                self.leases.cancel(message[len(CANCEL) :].decode())

    def _give_up(self, why: str) -> None:
        """Let the leases run out that cannot be kept truthfully. Any thread calls this."""
        self.is_broken = not self.leases.is_renewing
        if self.leases.abandon():
            logger.critical("this process' streams are lost: %s", why)

    def _connect(self, timeout_s: float, connections: int) -> Redis:
        bound_s = min(self.settings.redis_timeout_s, timeout_s)
        return connect(self.settings.redis_address, bound_s, connections)


_links: dict[tuple[asyncio.AbstractEventLoop, str, str], LogLink] = {}


@asynccontextmanager
async def linked(settings: Settings) -> AsyncIterator[LogLink]:
    """Hold this event loop's link to the log of these settings; the last one to leave closes it.

    Raises:
        LogUnavailable: Redis did not answer.
        UnfitServer: It can hold no log.
    """
    key = (asyncio.get_running_loop(), settings.redis_address, settings.key_prefix)
    link = _links.get(key)
    if link is None or link.is_broken:
        link = _links[key] = LogLink(settings)
    link.users += 1
    try:
        await link.open()
        yield link
    finally:
        link.users -= 1
        if not link.users:
            if _links.get(key) is link:
                del _links[key]
            await link.close()
