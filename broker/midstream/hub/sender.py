"""What a response and its sink use of what they are sent by."""

from typing import Protocol

from midstream.hub.lagging import Lagging
from midstream.hub.tail import Sink


class Sender(Protocol):
    """What a response and its sink use of a tail, or of a tail of tails (PROTOCOL: Threads/Events)."""

    @property
    def stream_id(self) -> str:
        """The stream that it reads; empty: several."""
        ...

    @property
    def lagging(self) -> Lagging:
        """The clients of this process that lag."""
        ...

    @property
    def failed(self) -> bool:
        """Whether it was closed in the middle."""
        ...

    @property
    def is_ending_or_over(self) -> bool:
        """Whether it has ended, or was ended from here."""
        ...

    def begin(self, sink: Sink, reset: str | None = None, *, opening: bytes = b"") -> None:
        """Begin to send to a sink; see `Tail.begin`."""
        ...

    def pump(self) -> None:
        """Go on, because the sink is ready."""
        ...

    def deflated(self, chunk: bytes) -> bytes:
        """Return what the sink is given now as a run of a deflate stream."""
        ...

    def close(self) -> None:
        """Send no more; may be called again."""
        ...

    def fail(self) -> None:
        """Close in the middle."""
        ...
