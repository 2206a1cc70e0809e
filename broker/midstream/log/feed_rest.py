"""Whether a feed rests between two reads (PROTOCOL: Read/Together)."""

from typing import Final

REST_S: Final = 0.005
"""The time from one read to the next but one, while the feed rests.

At 800 messages a second a delivery costs a broker 42, 35 and 29 us with rests of 2, 5 and 12 ms.
"""
CALM_PER_S: Final = 400
"""So many messages a second are read as they come: a rest would join only two of them, and each would wait for it."""
CALM_AT_ONCE: Final = 16
"""So many more may come at once."""


class FeedRest:
    """Counts the messages of a feed in a bucket that leaks `CALM_PER_S` of them, and lets the feed rest over its brim.

    Without the bucket, a word of one tenant waited for the rest after any word of another tenant.
    """

    def __init__(self) -> None:
        self._read_s = 0.0
        self._in_bucket = 0.0

    def after(self, messages: int, now_s: float) -> float:
        """Return for how long the feed rests after a read of so many messages; it is not above 0 where it does not."""
        since_s = now_s - self._read_s
        self._read_s = now_s
        before = max(0.0, self._in_bucket - since_s * CALM_PER_S)
        self._in_bucket = min(before + messages, 2 * CALM_AT_ONCE)  # so the rests end soon after the crowd
        return REST_S - since_s if self._in_bucket > CALM_AT_ONCE else 0.0
