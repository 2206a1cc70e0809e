"""What a tail needs of the follower that it reads through."""

from typing import TYPE_CHECKING, Any, Protocol

from midstream.hub.frames import Frames
from midstream.hub.lagging import Lagging

if TYPE_CHECKING:
    from midstream.hub.tail import Tail


class Readable(Protocol):
    """How far a log goes, for a tail."""

    @property
    def tail(self) -> int:
        """The last offset that may be sent."""
        ...

    @property
    def first(self) -> int:
        """The first offset that the log still keeps."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing comes after `tail`."""
        ...


class Chunks(Protocol):
    """What tails are sent of a log."""

    def chunk(self, face: Any, after: int, target: int) -> tuple[bytes, int]:
        """Return frames of the entries after `after`, at most up to `target`, and the last offset in them.

        Raises:
            NotInMemory: An entry has to be read from the log first; see `Reader.load`.
        """
        ...

    def deflated(self, chunk: bytes) -> bytes:
        """Return what a tail is sent now, deflated."""
        ...


class Reader(Protocol):
    """What a tail needs of its follower."""

    @property
    def stream_id(self) -> str:
        """The stream that is read."""
        ...

    @property
    def sync(self) -> Readable:
        """The stream's log as this process knows it."""
        ...

    @property
    def frames(self) -> "Chunks":
        """What tails are sent of it."""
        ...

    @property
    def lagging(self) -> Lagging:
        """The clients of this process that lag."""
        ...

    def load(self, index: int, tail: "Tail") -> None:
        """Read a segment from the log, then pump the tail."""
        ...

    def leave(self, tail: "Tail") -> None:
        """Move the tail no more."""
        ...


class LogReader(Reader, Protocol):
    """A follower itself, for what stands between it and a tail."""

    @property
    def frames(self) -> Frames:
        """What tails are sent of the stream."""
        ...
