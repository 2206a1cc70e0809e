"""What an operator wants to know of the queue."""

import asyncio
from typing import Final

from midstream.lifecycle.slips import Slips
from midstream.log.errors import LogUnavailable

ANSWER_S: Final = 1.0
"""The longest wait for Redis; a scrape shows the rest without these figures."""


async def queue_readings(slips: Slips) -> dict[tuple[str, ...], float]:
    """Return the queue's length and the age of what waits longest, by name; nothing if Redis does not answer."""
    try:
        async with asyncio.timeout(ANSWER_S):
            depth, oldest_age_s = await slips.waiting()
    except (LogUnavailable, TimeoutError):
        return {}
    return {("queue_depth",): depth, ("queue_oldest_age_seconds",): oldest_age_s}
