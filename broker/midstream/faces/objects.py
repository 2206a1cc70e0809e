"""Entries as JSON objects in a list (PROTOCOL: WebSocket). The socket's sink puts the brackets round each chunk."""

from dataclasses import dataclass
from typing import ClassVar

import orjson

from midstream.faces.face import FACE_BYTES
from midstream.log.entries import Json, Stored, decode, fields_for_clients


@dataclass(frozen=True)
class ObjectsFace:
    """An object per entry, each followed by a comma."""

    heartbeat: ClassVar[bytes] = b""  # a socket has pings of its own
    remembers_text: ClassVar[bool] = False
    size_bytes: ClassVar[int] = FACE_BYTES

    def begin(self) -> None:
        """Return nothing: this face has no state."""

    def frame(self, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return an entry's object: its offset, its type and its data."""
        decoded = decode(entry.content, entry.offset, entry.epoch)
        return in_list(fields_for_clients(decoded) | {"offset": entry.offset, "type": decoded.type}), state

    def merged_frame(self, first: int, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return the object of an entry that stands for several, with the `first` offset of them."""
        if first == entry.offset:
            return self.frame(entry, state)
        decoded = decode(entry.content, entry.offset, entry.epoch)
        return in_list(decoded.data | {"offset": entry.offset, "type": decoded.type, "first": first}), state

    def broker_stop(self, retry_ms: int) -> bytes:
        """Return the object that asks a client to tail again after `retry_ms`."""
        return in_list({"type": "parting", "retry_ms": retry_ms})

    def credential_end(self, reason: str) -> bytes:
        """Return the object that tells a client why its tail ends before the stream does."""
        return in_list({"type": "parting", "reason": reason})

    def reset(self, reason: str) -> bytes:
        """Return a `reset` that is not an entry of the log; its offset is 0."""
        return in_list({"offset": 0, "type": "reset", "reason": reason})


def in_list(fields: Json) -> bytes:
    """Return an object as the socket's lists hold it."""
    return orjson.dumps(fields) + b","
