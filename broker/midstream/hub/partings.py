"""How a process that stops parts from all that wait in it: spread over some time, so that they do not return at once.

PROTOCOL: Drain/Spread.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

STEP: Final = 20
"""Tails and waits that are parted from at a time."""
SLOWEST_PER_S: Final = 500
"""A process that has few tails parts from so many a second, and has stopped the sooner."""
RETRY_SHARES: Final = (0.1, 0.5)
"""Between these shares of the usual delay is that after which a tail comes back: the partings are spread already."""
LATECOMERS_S: Final = 0.05
"""How often it is looked for tails and waits that got in late."""


class Leaving(Protocol):
    """A tail, or another wait for a stream's log to grow."""

    def part(self, retry_ms: int) -> None:
        """Ask the client to come back after `retry_ms`, to the process that serves then."""
        ...


async def part_from_all(present: Callable[[], Sequence[Leaving]], spread_s: float, retry_ms: int) -> None:
    """Part from all that are `present`, within `spread_s`, each with another time to come back.

    Does not return: those who still get in after that are parted from at once. Cancel it when all are gone.
    """
    leaving = list(present())
    random.shuffle(leaving)
    spread_s = min(spread_s, len(leaving) / SLOWEST_PER_S)
    for number, one in enumerate(leaving):
        one.part(round(retry_ms * random.uniform(*RETRY_SHARES)))  # noqa: S311
        if number % STEP == STEP - 1:
            await asyncio.sleep(spread_s * STEP / len(leaving))
    while True:
        for latecomer in present():
            latecomer.part(retry_ms)
        await asyncio.sleep(LATECOMERS_S)
