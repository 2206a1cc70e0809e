"""Ended streams whose last reader has left: the next one need not read the log (PROTOCOL: Read/Resting)."""

import sys
import time
from collections import OrderedDict
from typing import Final

from midstream.hub.follower import Follower
from midstream.hub.window import Window

REST_S: Final = 60.0
"""How long a follower rests: until then a process may hold what was deleted by another one."""
REST_BYTES: Final = 6_144
"""What a resting follower takes besides its metadata and what the window counts anyway: its objects and the state."""


class Resting:
    """Resting followers by channel, oldest first; all of them yield to what is being read."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._followers: OrderedDict[str, tuple[Follower, float]] = OrderedDict()
        window.spare = self.drop_oldest

    def __len__(self) -> int:
        return len(self._followers)

    def put(self, channel: str, follower: Follower) -> None:
        """Have a follower rest."""
        follower.rest()
        self._followers[channel] = (follower, time.monotonic())
        self._window.grow(_size_bytes(follower))

    def take(self, channel: str) -> Follower | None:
        """Return the follower that rests for a channel, which does not rest any more; None if there is none."""
        follower, _ = self._followers.pop(channel, (None, 0.0))
        if follower is not None:
            self._window.grow(-_size_bytes(follower))
        return follower

    def drop_oldest(self) -> bool:
        """Drop the memory of the one that has rested longest; return False if none rests."""
        if not self._followers:
            return False
        follower = self.take(next(iter(self._followers)))
        assert follower is not None  # noqa: S101 - it was there
        follower.stop()
        return True

    def drop_older_than(self, age_s: float) -> None:
        """Drop those that have rested for so long."""
        moment_s = time.monotonic() - age_s
        while self._followers and next(iter(self._followers.values()))[1] <= moment_s:
            self.drop_oldest()


def _size_bytes(follower: Follower) -> int:
    return REST_BYTES + sys.getsizeof(follower.state.metadata)  # four bytes for each character, if one is an emoji
