"""What every voice over the log can do."""

from typing import Any, Protocol

from midstream.log.entries import Stored


class Face(Protocol):
    """A wire format: turns entries into frames. Pure: no I/O, no clock, the same bytes at every replay.

    Two faces that would say the same of a stream are equal, and share their frames. What a face has to remember
    from entry to entry (a sequence number, an open item) is a state of its own, handed from frame to frame, so
    that a frame is a function of the log alone.
    """

    @property
    def heartbeat(self) -> bytes:
        """A frame that means nothing but "still here"; empty where the format has none."""
        ...

    def begin(self) -> Any:
        """Return the state before the log's first entry; None says that the face remembers nothing."""
        ...

    def frame(self, entry: Stored, state: Any) -> tuple[bytes, Any]:
        """Return what goes on the wire for an entry, maybe nothing, and the state behind it.

        The state that was passed in must stay as it is: replays begin from it again.
        """
        ...

    def parting(self, retry_ms: int) -> bytes:
        """Return the frame that asks a client to come back after `retry_ms`; empty where there is none."""
        ...

    def reset(self, reason: str) -> bytes:
        """Return the frame that tells a client to forget what it has; the log follows from its start."""
        ...
