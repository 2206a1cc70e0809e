"""The native face: an SSE event per entry, its offset as the id (PROTOCOL: Read/Frames)."""

from typing import Final

import orjson

from midstream.log.entries import REASONING, TEXT, Stored, decode

_BARE_FRAMES: Final = {
    kind[0]: b'id: %%d\nevent: %b\ndata: {"type":"%b","text":%%b}\n\n' % (name, name)
    for kind, name in ((b"t", TEXT.encode()), (b"r", REASONING.encode()))
}


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
        offset, epoch, content = entry
        # The two types that make up nearly all of a log skip the dict between their bytes and JSON.
        bare = _BARE_FRAMES.get(content[0])
        if bare is not None:
            return bare % (offset, orjson.dumps(content[1:].decode()))
        decoded = decode(content, offset, epoch)
        data = orjson.dumps({"type": decoded.type, **decoded.data} | {"type": decoded.type})
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (offset, decoded.type.encode(), data)

    def parting(self, retry_ms: int) -> bytes:
        """Return a `retry` field: EventSource waits that long before it comes back."""
        return b"retry: %d\n\n" % retry_ms

    def reset(self, reason: str) -> bytes:
        """Return a `reset` with id 0: a client that is cut behind it starts over, as it should."""
        data = orjson.dumps({"type": "reset", "reason": reason})
        return b"id: 0\nevent: reset\ndata: %s\n\n" % data
