"""What every voice over the log can do."""

from typing import Protocol

from broker.log.entries import Stored


class Face(Protocol):
    """A wire format: turns entries into frames. Pure: no I/O, no clock, the same bytes at every replay."""

    heartbeat: bytes
    """A frame that means nothing but "still here"."""

    def frame(self, entry: Stored) -> bytes:
        """Return what goes on the wire for an entry; may be empty."""
        ...

    def parting(self, retry_ms: int) -> bytes:
        """Return the frame that asks a client to come back after `retry_ms`; empty where there is none."""
        ...

    def reset(self, reason: str) -> bytes:
        """Return the frame that tells a client to forget what it has; the log follows from its start."""
        ...
