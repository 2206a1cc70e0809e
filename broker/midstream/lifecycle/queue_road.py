"""The road to the queue's server: the log's own, unless the settings name another one (PROTOCOL: Queue/Road)."""

from typing import Final

from redis.asyncio import Redis

from midstream.log.connect import connect
from midstream.settings import Settings

QUEUE_VARIABLE: Final = "MIDSTREAM_QUEUE_REDIS_URL"
QUEUE_TIMEOUT_S: Final = 1.0
"""The longest wait for a queue that has a server of its own. Nothing is lost by giving up: a reaper tries again."""


def queue_client(settings: Settings, log_redis: Redis) -> Redis:
    """Return a client of the queue's server: `log_redis` itself, where the queue is with the log."""
    if settings.queue_address == settings.redis_address:
        return log_redis
    bound_s = min(settings.redis_timeout_s, QUEUE_TIMEOUT_S)
    return connect(settings.queue_address, bound_s, settings.redis_connections)
