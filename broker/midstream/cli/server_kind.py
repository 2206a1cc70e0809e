"""Checks the servers of log and queue before a process starts, because some kinds of servers can hold neither."""

import asyncio
from typing import Final

from midstream.cli.setup import SetupError
from midstream.lifecycle.queue_road import QUEUE_VARIABLE
from midstream.log.connect import connect
from midstream.log.durability import LOG_VARIABLE, refuse_unfit
from midstream.log.errors import UnfitServer
from midstream.settings import Settings

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
