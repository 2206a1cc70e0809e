"""The server's clock as one process has seen it: times during which nobody could have known better are no one's age.

A clock that was set forward, and a log that was silent, look alike to whoever compares two of the server's times:
much time has passed in which nothing was looked after. Both are leaps here, and a time from before a leap is as
old as it would be without it.
"""

from collections import deque
from typing import Final

LEAPS_KEPT: Final = 32
SILENT_S: Final = 2.0
"""A log that was not heard for longer leapt."""


class ServerClock:
    """Compares each of the server's times with our own monotonic clock.

    Args:
        tolerance_ms: A difference of at most this much is no leap: a lease has room for it.
    """

    def __init__(self, tolerance_ms: float) -> None:
        self._tolerance_ms = tolerance_ms
        self._leaps: deque[tuple[int, int]] = deque(maxlen=LEAPS_KEPT)  # the server's times before and behind it
        self._heard_ms = 0
        self._heard_s = 0.0
        self._least_ms = self._most_ms = 0.0  # between these lay the server's clock minus ours

    def hear(self, now_ms: int, asked_s: float, answered_s: float) -> int:
        """Take a time of the server that was asked for and answered at these times of our own clock, in seconds.

        Returns by how many ms the server's clock was set since the last time: below 0 it was set back, 0 it was not.
        """
        least_ms, most_ms = now_ms - answered_s * 1000, now_ms - asked_s * 1000
        set_ms = 0
        if self._heard_ms:
            if least_ms > self._most_ms + self._tolerance_ms:
                set_ms = round(least_ms - self._most_ms)
            elif most_ms < self._least_ms - self._tolerance_ms:
                set_ms = round(most_ms - self._least_ms)
            if set_ms or answered_s - self._heard_s > SILENT_S:
                self._leaps.append((self._heard_ms, now_ms))
        self._heard_ms, self._heard_s, self._least_ms, self._most_ms = now_ms, answered_s, least_ms, most_ms
        return set_ms

    def age_ms(self, since_ms: int, now_ms: int) -> int:
        """Return how long ago a time of the server's was, without the leaps that came behind it."""
        age_ms = now_ms - since_ms
        for before_ms, behind_ms in self._leaps:
            forward = before_ms <= behind_ms
            if since_ms < behind_ms if forward else since_ms > now_ms:
                age_ms -= behind_ms - before_ms
        return age_ms
