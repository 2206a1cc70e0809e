"""The native frames of a thread's streams, one stream after the other, with markers between them (Threads/Events).

The id of a frame is `<stream id>.<offset>`; that of a marker ends in `.0` or `.end`. Each id is a place in the thread.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import orjson

from midstream.faces.face import FACE_BYTES, MergingFace
from midstream.faces.native import NativeFace
from midstream.faces.sse_frames import HEARTBEAT, sse_frame, with_id, with_retry
from midstream.log.entries import Json, Stored

START: Final = "0"
"""The cursor before a thread's first stream."""
AFTER_END: Final = "end"
"""What the cursor after a stream's end has for an offset."""
_NATIVE: Final = NativeFace()
_ID: Final = len(b"id: ")


class ThreadFrames(MergingFace[None], Protocol):
    """A wire format of a thread's streams: the face of one of them, and the markers around it."""

    def started(self, facts: Json) -> bytes:
        """Return the marker before the stream's first entry."""
        ...

    def ended(self, facts: Json) -> bytes:
        """Return the marker after the stream's last entry."""
        ...

    def thread_reset(self, reason: str) -> bytes:
        """Return a `reset` of all that a client has of the thread, which follows from its start."""
        ...


@dataclass(frozen=True)
class ThreadFace:
    """The native frames of one stream, whose ids have the stream's before the offset."""

    stream_id: str
    heartbeat: ClassVar[bytes] = HEARTBEAT
    remembers_text: ClassVar[bool] = False
    size_bytes: ClassVar[int] = FACE_BYTES

    def begin(self) -> None:
        """Return nothing: this face has no state."""

    def frame(self, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return the SSE event of an entry."""
        return self._named(_NATIVE.frame(entry, None)[0]), state

    def merged_frame(self, first: int, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return the SSE event of an entry that stands for several; its data has the `first` offset of them."""
        return self._named(_NATIVE.merged_frame(first, entry, None)[0]), state

    def broker_stop(self, retry_ms: int) -> bytes:
        """Return a `retry` field: an EventSource waits that long before it reconnects."""
        return with_retry(retry_ms)

    def credential_end(self, reason: str) -> bytes:
        """Return a `parting` event without an id: the cursor stays where it is."""
        return _NATIVE.credential_end(reason)

    def reset(self, reason: str) -> bytes:
        """Return a `reset`, after which the stream follows from its start."""
        return self._marked("0", "reset", {"reason": reason})

    def started(self, facts: Json) -> bytes:
        """Return the marker before the stream's first entry."""
        return self._marked("0", "stream_started", {"stream_id": self.stream_id, **facts})

    def ended(self, facts: Json) -> bytes:
        """Return the marker after the stream's last entry."""
        return self._marked(AFTER_END, "stream_ended", {"stream_id": self.stream_id, **facts})

    def thread_reset(self, reason: str) -> bytes:
        """Return a `reset` of all that a client has of the thread, which follows from its start."""
        return with_id(START, sse_frame(orjson.dumps({"type": "reset", "reason": reason}), "reset"))

    def _named(self, frame: bytes) -> bytes:
        return b"id: %b.%b" % (self.stream_id.encode(), frame[_ID:])

    def _marked(self, offset: str, kind: str, data: Json) -> bytes:
        return with_id(f"{self.stream_id}.{offset}", sse_frame(orjson.dumps({"type": kind, **data}), kind))
