"""What a face is, and how one is written.

A face turns a log's entries into the frames of one wire format. It is a file of this room, with three classes:

1. `XState`, a frozen dataclass: what the face has to remember from one entry to the next.
2. `XFace`, a frozen dataclass that is a `Face[XState]`. Frames depend on its fields and on the log, on nothing else.
3. `_Step`, a `Step[XState]`: its `take` gathers the frames of one entry and replaces the state. Types of entries that
   the format has no word for make no frames.

A format that needs no memory is a `Face[None]` without the other two classes, as in `native.py`.
SSE frames are made by `sse_frames.py`, counted tokens by `token_usage.py`, failures by `peer_errors.py`.
A new face goes into the table of `tests/unit/test_faces.py`, which holds all of them to the same properties.
"""

from abc import ABC, abstractmethod
from typing import Final, Generic, Protocol, TypeVar

from midstream.log.entries import Entry, Stored

State = TypeVar("State")

FACE_BYTES: Final = 200
"""What a face of a few short fields takes, at most."""


class Face(Protocol[State]):
    """A wire format: turns entries into frames. Pure: no I/O, no clock, the same bytes at every replay.

    Two faces that make the same frames of a stream are equal, and share them. What a face has to remember from entry
    to entry (a sequence number, an open item) is a state of its own, which is handed from frame to frame, so that a
    frame is a function of the log alone.
    """

    @property
    def heartbeat(self) -> bytes:
        """A frame that tells a client only that the connection is alive; empty where the format has none."""
        ...

    @property
    def remembers_text(self) -> bool:
        """Whether a state holds the text of all entries before it, which the hub counts as memory."""
        ...

    @property
    def size_bytes(self) -> int:
        """What the face itself takes in memory: it is kept with its frames. `FACE_BYTES` where its fields are few."""
        ...

    def begin(self) -> State:
        """Return the state before the log's first entry; None where the face remembers nothing."""
        ...

    def frame(self, entry: Stored, state: State) -> tuple[bytes, State]:
        """Return what is sent for an entry, which may be nothing, and the state after it.

        The state that was passed in stays unchanged, because replays begin from it again.
        """
        ...

    def broker_stop(self, retry_ms: int) -> bytes:
        """Return the frame that a stop of this broker sends: come back after `retry_ms`. Empty where there is none."""
        ...

    def credential_end(self, reason: str) -> bytes:
        """Return the frame that tells a client that its credential is over: `token_expired`, `credential_revoked`."""
        ...

    def reset(self, reason: str) -> bytes:
        """Return the frame that tells a client to forget what it has, because the log follows from its start."""
        ...


class MergingFace(Face[State], Protocol[State]):
    """A wire format whose clients can be sent merged entries (PROTOCOL: Read/Coalesced)."""

    def merged_frame(self, first: int, entry: Stored, state: State) -> tuple[bytes, State]:
        """Return what is sent for an entry that stands for all from offset `first` on, and the state after it.

        It is the state after those entries one by one, and the frame of an entry that stands for itself is the same.
        """
        ...


class Step(ABC, Generic[State]):
    """One entry's way through a face.

    Attributes:
        frames: The frames that the entry has made so far.
        state: The state after those frames.
    """

    def __init__(self, state: State) -> None:
        self.frames: list[bytes] = []
        self.state = state

    @abstractmethod
    def take(self, entry: Entry) -> None:
        """Add the frames of an entry, and move the state on. Called once."""
