"""Checks the servers of log and queue before a process starts: some kinds hold neither, or one is not there yet."""

import asyncio
import logging
from typing import Final

from midstream.cli.setup import SetupError
from midstream.lifecycle.queue_road import QUEUE_VARIABLE
from midstream.log.connect import connect
from midstream.log.durability import LOG_VARIABLE, refuse_unfit
from midstream.log.errors import LogUnavailable, UnfitServer
from midstream.log.registry import Registry
from midstream.settings import Settings

logger = logging.getLogger(__name__)

WAIT_S: Final = 0.5
"""The rest between two questions whether the log's server is there."""
CHECK_S: Final = 1.0
"""Longest wait for the server's answer. A server that is away may come later, so silence is no fault."""


def check_server(settings: Settings) -> None:
    """Return if the servers of the log and of the queue can be used, or do not answer yet.

    Raises:
        SetupError: One of them belongs to a Redis Cluster, or is a Sentinel.
    """
    try:
        asyncio.run(_check(settings))
    except UnfitServer as error:
        raise SetupError(str(error)) from None


async def _check(settings: Settings) -> None:
    wait_s = min(settings.redis_timeout_s, CHECK_S)
    roads = {settings.queue_address: QUEUE_VARIABLE} | {settings.redis_address: LOG_VARIABLE}
    for address, variable in roads.items():
        redis = connect(address, wait_s, connections=1)
        try:
            await refuse_unfit(redis, variable)
        finally:
            await redis.aclose(close_connection_pool=True)


def wait_for_log(settings: Settings) -> None:
    """Return once the log's server answers a broker that has keys, because the secret that it signs with is there.

    A broker without keys needs none: it starts, and says to its clients that the log is away. A signal ends the wait,
    and the process with it.
    """
    if not settings.is_open:
        asyncio.run(log_answers(settings))


async def log_answers(settings: Settings) -> None:
    """Return once the log's server answers."""
    redis = connect(settings.redis_address, settings.redis_timeout_s, connections=1)
    try:
        while True:
            try:
                await Registry(redis, settings.key_prefix).ping()
            except LogUnavailable as error:
                logger.warning("waiting for Redis: %s", error)
                await asyncio.sleep(WAIT_S)
            else:
                return
    finally:
        await redis.aclose(close_connection_pool=True)
