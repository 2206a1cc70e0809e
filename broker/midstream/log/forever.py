"""Loops that others live by: one that breaks is begun anew, and says so."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

logger = logging.getLogger(__name__)

PAUSE_S: Final = 0.5


async def forever(name: str, loop: Callable[[], Awaitable[object]]) -> NoReturn:
    """Run `loop` until this task is cancelled; where it raises, or returns, log it and begin it anew."""
    while True:
        try:
            await loop()
        except Exception:
            logger.exception("%s has failed and is begun anew", name)
        else:
            logger.error("%s has ended by itself and is begun anew", name)
        await asyncio.sleep(PAUSE_S)
