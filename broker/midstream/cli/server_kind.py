"""Checks the log's server before a process starts, because some kinds of servers cannot hold the log."""

import asyncio
from typing import Final

from midstream.cli.setup import SetupError
from midstream.log.connect import connect
from midstream.log.durability import refuse_unfit
from midstream.log.errors import UnfitServer
from midstream.settings import Settings

CHECK_S: Final = 1.0
"""Longest wait for the server's answer. A server that is away may come later, so silence is no fault."""


def check_server(settings: Settings) -> None:
    """Return if the log's server can be used, or does not answer yet.

    Raises:
        SetupError: It belongs to a Redis Cluster, or is a Sentinel.
    """
    try:
        asyncio.run(_check(settings))
    except UnfitServer as error:
        raise SetupError(str(error)) from None


async def _check(settings: Settings) -> None:
    redis = connect(settings.redis_address, min(settings.redis_timeout_s, CHECK_S), connections=1)
    try:
        await refuse_unfit(redis)
    finally:
        await redis.aclose(close_connection_pool=True)
