"""A look at the log's server before a process starts: some kinds can hold no log, and it is said in one sentence."""

import asyncio
from typing import Final

from midstream.cli.setup import SetupError
from midstream.log.connect import connect
from midstream.log.durability import refuse_unfit
from midstream.log.errors import UnfitServer
from midstream.settings import Settings

LOOK_S: Final = 1.0
"""Longest wait for the look; a server that is away may come later."""


def check_server(settings: Settings) -> None:
    """Return if the log's server can be used, or may be once it answers.

    Raises:
        SetupError: It belongs to a Redis Cluster, or is a Sentinel.
    """
    try:
        asyncio.run(_look(settings))
    except UnfitServer as error:
        raise SetupError(str(error)) from None


async def _look(settings: Settings) -> None:
    redis = connect(settings.redis_url.get_secret_value(), min(settings.redis_timeout_s, LOOK_S), connections=1)
    try:
        await refuse_unfit(redis)
    finally:
        await redis.aclose(close_connection_pool=True)
