"""The native face: an SSE event per entry, its offset as the id (PROTOCOL: Read/Frames)."""

from dataclasses import dataclass, field
from typing import ClassVar, Final

import orjson

from midstream.faces.face import FACE_BYTES
from midstream.faces.sse_frames import HEARTBEAT, sse_frame, with_id, with_retry
from midstream.log.entries import REASONING, TEXT, Entry, Stored, decode, encode, fields_for_clients

_BARE_FRAMES: Final = {
    encode(Entry(kind, {"text": ""}))[0]: with_id("%d", sse_frame(b'{"type":"%b","text":%%b}' % kind.encode(), kind))
    for kind in (TEXT, REASONING)
}
"""By type byte, the frames of the two types whose content is bare text. Offset and text are still to be filled in."""


@dataclass(frozen=True)
class NativeFace:
    """Frames with `id`, `event` and `data`.

    Attributes:
        with_steps: Whether steps are shown with what they hold; otherwise a client is sent that there is one, because
            the offsets that it is sent have no gaps.
    """

    with_steps: bool = field(default=False, kw_only=True)
    heartbeat: ClassVar[bytes] = HEARTBEAT
    remembers_text: ClassVar[bool] = False
    size_bytes: ClassVar[int] = FACE_BYTES

    def begin(self) -> None:
        """Return nothing: this face has no state."""

    def frame(self, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return the SSE event of an entry."""
        offset, epoch, content = entry
        # These two types are nearly all of a log, so they are spared the dict between stored bytes and JSON.
        bare = _BARE_FRAMES.get(content[0])
        if bare is not None:
            return bare % (offset, orjson.dumps(content[1:].decode())), state
        decoded = decode(content, offset, epoch)
        fields = decoded.data if self.with_steps else fields_for_clients(decoded)
        data = orjson.dumps({"type": decoded.type, **fields} | {"type": decoded.type})
        return with_id(str(offset), sse_frame(data, decoded.type)), state

    def merged_frame(self, first: int, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return the SSE event of an entry that stands for several; its data has the `first` offset of them."""
        offset, epoch, content = entry
        if first == offset:
            return self.frame(entry, state)
        decoded = decode(content, offset, epoch)
        data = orjson.dumps(decoded.data | {"type": decoded.type, "first": first})
        return with_id(str(offset), sse_frame(data, decoded.type)), state

    def broker_stop(self, retry_ms: int) -> bytes:
        """Return a `retry` field: an EventSource waits that long before it reconnects."""
        return with_retry(retry_ms)

    def credential_end(self, reason: str) -> bytes:
        """Return a `parting` event without an id: it is no entry, so the cursor stays where it is."""
        return sse_frame(orjson.dumps({"type": "parting", "reason": reason}), "parting")

    def reset(self, reason: str) -> bytes:
        """Return a `reset` with id 0: a client that is cut right after it begins at the start of the log."""
        return with_id("0", sse_frame(orjson.dumps({"type": "reset", "reason": reason}), "reset"))
