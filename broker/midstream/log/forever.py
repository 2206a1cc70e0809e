"""Loops that others depend on: one that fails is logged and started again (PROTOCOL: Lease/Supervised)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

logger = logging.getLogger(__name__)

PAUSE_S: Final = 0.5


async def forever(name: str, loop: Callable[[], Awaitable[object]]) -> NoReturn:
    """Run `loop` until this task is cancelled; whenever it raises or returns, log that and start it again."""
    while True:
        try:
            await loop()
        except Exception:
            logger.exception("%s has failed and is started again", name)
        else:
            logger.error("%s has ended by itself and is started again", name)
        await asyncio.sleep(PAUSE_S)
