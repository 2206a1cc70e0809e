"""The objects of a thread's streams on a WebSocket, with the markers of `thread.py` between them (Ws/Threads).

Each has its place in the thread as `cursor`, where the events of `thread.py` have an id.
"""

from dataclasses import dataclass
from typing import ClassVar

from midstream.faces.face import FACE_BYTES
from midstream.faces.objects import ObjectsFace, in_list
from midstream.faces.thread import AFTER_END, START
from midstream.log.entries import Json, Stored, decode, fields_for_clients

_OBJECTS = ObjectsFace()


@dataclass(frozen=True)
class ThreadObjectsFace:
    """The objects of one stream of a thread, each followed by a comma."""

    stream_id: str
    heartbeat: ClassVar[bytes] = b""
    remembers_text: ClassVar[bool] = False
    size_bytes: ClassVar[int] = FACE_BYTES

    def begin(self) -> None:
        """Return nothing: this face has no state."""

    def frame(self, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return an entry's object: its cursor, its type and its data."""
        decoded = decode(entry.content, entry.offset, entry.epoch)
        return self._placed(entry.offset, decoded.type, fields_for_clients(decoded)), state

    def merged_frame(self, first: int, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return the object of an entry that stands for several, with the `first` offset of them."""
        if first == entry.offset:
            return self.frame(entry, state)
        decoded = decode(entry.content, entry.offset, entry.epoch)
        return self._placed(entry.offset, decoded.type, decoded.data | {"first": first}), state

    def broker_stop(self, retry_ms: int) -> bytes:
        """Return the object that asks a client to tail again after `retry_ms`; it has no cursor."""
        return _OBJECTS.broker_stop(retry_ms)

    def credential_end(self, reason: str) -> bytes:
        """Return the object that tells a client that its credential is over; it has no cursor."""
        return _OBJECTS.credential_end(reason)

    def reset(self, reason: str) -> bytes:
        """Return a `reset`, after which the stream follows from its start."""
        return self._placed(0, "reset", {"reason": reason})

    def started(self, facts: Json) -> bytes:
        """Return the marker before the stream's first entry."""
        return self._placed(0, "stream_started", {"stream_id": self.stream_id, **facts})

    def ended(self, facts: Json) -> bytes:
        """Return the marker after the stream's last entry."""
        return self._placed(AFTER_END, "stream_ended", {"stream_id": self.stream_id, **facts})

    def thread_reset(self, reason: str) -> bytes:
        """Return a `reset` of all that a client has of the thread, which follows from its start."""
        return in_list({"cursor": START, "type": "reset", "reason": reason})

    def _placed(self, place: int | str, kind: str, fields: Json) -> bytes:
        return in_list(fields | {"cursor": f"{self.stream_id}.{place}", "type": kind})
