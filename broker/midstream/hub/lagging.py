"""What clients that lag were sent and have not taken yet, bounded for all clients of a process together."""

import logging
from typing import Final, Protocol

from midstream import counters

logger = logging.getLogger(__name__)

DEFAULT_LIMIT_BYTES: Final = 67_108_864


class Laggard(Protocol):
    """A client's sink that waits until the client has taken what it was sent."""

    def cut(self) -> None:
        """Close the connection at once; the client comes back after what it has taken."""
        ...


class Lagging:
    """The clients that lag; beyond `limit_bytes` in sum, the one that has lagged longest is cut.

    Attributes:
        size_bytes: What is on its way to all of them.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.size_bytes = 0
        self._limit_bytes = limit_bytes
        self._unsent_bytes: dict[Laggard, int] = {}

    def add(self, laggard: Laggard, unsent_bytes: int) -> None:
        """Note that a client begins to lag with so much on its way; one that is noted already begins again."""
        self.remove(laggard)
        self._unsent_bytes[laggard] = unsent_bytes
        self.size_bytes += unsent_bytes
        while self.size_bytes > self._limit_bytes and len(self._unsent_bytes) > 1:
            longest = next(iter(self._unsent_bytes))
            self.remove(longest)
            logger.info("the client that lagged for longest was cut: over %d bytes are unsent", self._limit_bytes)
            counters.count("limit_exceeded", "process", "unsent_bytes")
            longest.cut()

    def remove(self, laggard: Laggard) -> None:
        """Note that a client has taken what was on its way, or is gone."""
        self.size_bytes -= self._unsent_bytes.pop(laggard, 0)
