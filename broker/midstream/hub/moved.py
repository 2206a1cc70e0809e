"""Followers whose logs have grown, and whose tails move next: a few in each turn of the event loop (Read/Together)."""

import asyncio
from typing import Final

from midstream.hub.follower import Follower

TAILS_PER_TURN: Final = 64
"""After so many tails the loop turns before the next follower's move: to write to one takes 10 us."""


class Moved:
    """Followers in the order in which they are pumped."""

    def __init__(self) -> None:
        self._followers: dict[Follower, None] = {}
        self._goes_on = False

    def add(self, follower: Follower) -> None:
        """Have a follower pumped, if it is not already to be."""
        self._followers[follower] = None

    def pump(self) -> None:
        """Pump those that were added, in this turn or in the next ones."""
        if not self._goes_on:
            self._pump()

    def _pump(self) -> None:
        left = TAILS_PER_TURN
        while self._followers and left > 0:
            follower = next(iter(self._followers))
            del self._followers[follower]
            left -= max(1, len(follower.tails))
            follower.pump()
        self._goes_on = bool(self._followers)
        if self._goes_on:
            asyncio.get_running_loop().call_soon(self._pump)
