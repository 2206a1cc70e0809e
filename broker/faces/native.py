"""The native face: an SSE event per entry, its offset as the id (PROTOCOL: Frames)."""

from typing import Final

import orjson

from broker.log.entries import REASONING, TEXT, Stored, decode

_TEXT_BYTE: Final = ord("t")
_REASONING_BYTE: Final = ord("r")


class NativeFace:
    """`id`, `event`, `data`. JSON escapes every line break, so each field is one line."""

    heartbeat: bytes = b":\n\n"

    def begin(self) -> None:
        """Remember nothing."""

    def frame(self, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return the SSE event of an entry."""
        return self.event(entry), state

    def event(self, entry: Stored) -> bytes:
        """Return the SSE event of an entry."""
        # The two types that make up nearly all of a log skip the dict between their bytes and JSON.
        if entry.content[0] == _TEXT_BYTE:
            return _text_frame(TEXT, entry)
        if entry.content[0] == _REASONING_BYTE:
            return _text_frame(REASONING, entry)
        decoded = decode(entry.content, entry.offset, entry.epoch)
        data = orjson.dumps({"type": decoded.type, **decoded.data} | {"type": decoded.type})
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.offset, decoded.type.encode(), data)

    def parting(self, retry_ms: int) -> bytes:
        """Return a `retry` field: EventSource waits that long before it comes back."""
        return b"retry: %d\n\n" % retry_ms

    def reset(self, reason: str) -> bytes:
        """Return a `reset` with id 0: a client that is cut behind it starts over, as it should."""
        data = orjson.dumps({"type": "reset", "reason": reason})
        return b"id: 0\nevent: reset\ndata: %s\n\n" % data


def _text_frame(kind: str, entry: Stored) -> bytes:
    name = kind.encode()
    data = orjson.dumps(entry.content[1:].decode())
    return b'id: %d\nevent: %s\ndata: {"type":"%s","text":%s}\n\n' % (entry.offset, name, name, data)
