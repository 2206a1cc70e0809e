"""The native face with the growing value of an answer in JSON (PROTOCOL: Structured/Partial)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from midstream.faces.growing_json import GrowingJson
from midstream.faces.native import NativeFace
from midstream.faces.sse_frames import HEARTBEAT
from midstream.log.entries import Stored, decode

_DATA_END: Final = b"}\n\n"


@dataclass(frozen=True)
class NativeObjectsFace:
    """The frames of the native face; those of a text and the end may have `partial` as well.

    Attributes:
        native: The face without the value.
        limit_bytes: Longest text whose value is sent.
    """

    native: NativeFace
    limit_bytes: int

    heartbeat: ClassVar[bytes] = HEARTBEAT
    remembers_text: ClassVar[bool] = True

    def begin(self) -> GrowingJson:
        """Return the empty text."""
        return GrowingJson()

    def frame(self, entry: Stored, state: GrowingJson) -> tuple[bytes, GrowingJson]:
        """Return the SSE event of an entry."""
        frame, _ = self.native.frame(entry, None)
        state, value = state.after(decode(entry.content, entry.offset, entry.epoch), self.limit_bytes)
        if value is not None:
            assert frame.endswith(_DATA_END)  # noqa: S101
            frame = b'%b,"partial":%b%b' % (frame[: -len(_DATA_END)], value, _DATA_END)
        return frame, state

    def broker_stop(self, retry_ms: int) -> bytes:
        """Return what `native` does."""
        return self.native.broker_stop(retry_ms)

    def credential_end(self, reason: str) -> bytes:
        """Return what `native` does."""
        return self.native.credential_end(reason)

    def reset(self, reason: str) -> bytes:
        """Return what `native` does."""
        return self.native.reset(reason)
