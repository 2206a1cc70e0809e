"""The server's clock as one process has seen it, and the ages of the server's earlier times by it.

The server's clock may be set, and the log may not answer for a while. Both are called leaps here, because to a process
that compares two of the server's times they look the same: much time has passed, and nothing happened in it. A stream
that nothing could look after during a leap was not left alone. Therefore the time of a leap counts towards no age.
"""

from collections import deque
from typing import Final

LEAPS_KEPT: Final = 32
SILENT_S: Final = 2.0
"""A log that has not answered for longer than this has leapt."""


class ServerClock:
    """Compares each of the server's times with our own monotonic clock.

    Args:
        tolerance_ms: A difference of at most this much is no leap, because a lease has room for it.
    """

    def __init__(self, tolerance_ms: float) -> None:
        self._tolerance_ms = tolerance_ms
        self._leaps: deque[tuple[int, int]] = deque(maxlen=LEAPS_KEPT)  # the server's times before and after each
        self._last_ms = 0
        self._last_s = 0.0
        self._least_ms = self._most_ms = 0.0  # bounds of the difference between the server's clock and ours

    def hear(self, now_ms: int, sent_s: float, answered_s: float) -> int:
        """Take a time of the server; the question was sent, and answered, at these times of our own clock in seconds.

        Returns by how many ms the server's clock was set since the last time: below 0 if it was set back, 0 if it was
        not set.
        """
        least_ms, most_ms = now_ms - answered_s * 1000, now_ms - sent_s * 1000
        set_ms = 0
        if self._last_ms:
            if least_ms > self._most_ms + self._tolerance_ms:
                set_ms = round(least_ms - self._most_ms)
            elif most_ms < self._least_ms - self._tolerance_ms:
                set_ms = round(most_ms - self._least_ms)
            if set_ms or answered_s - self._last_s > SILENT_S:
                self._leaps.append((self._last_ms, now_ms))
        self._last_ms, self._last_s, self._least_ms, self._most_ms = now_ms, answered_s, least_ms, most_ms
        return set_ms

    def age_ms(self, since_ms: int, now_ms: int) -> int:
        """Return how long ago a time of the server was, without the leaps that came after it."""
        age_ms = now_ms - since_ms
        for before_ms, after_ms in self._leaps:
            is_forward = before_ms <= after_ms
            if is_forward and since_ms < after_ms:
                age_ms -= after_ms - before_ms
            elif not is_forward and since_ms > now_ms:  # it is from before a leap back
                age_ms += before_ms - after_ms
        return age_ms
