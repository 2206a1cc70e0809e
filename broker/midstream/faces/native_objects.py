"""The native face with the growing value of an answer in JSON (PROTOCOL: Structured/Partial)."""

from typing import Final

from midstream.faces.face_base import FaceBase
from midstream.faces.growing_json import GrowingJson
from midstream.faces.native import NativeFace
from midstream.log.entries import Stored, decode

_DATA_END: Final = b"}\n\n"


class NativeObjectsFace(FaceBase[NativeFace]):
    """The frames of the native face; those of a text and the end may have `partial` as well."""

    def begin(self) -> GrowingJson:
        """Return the empty text."""
        return GrowingJson()

    def frame(self, entry: Stored, state: GrowingJson) -> tuple[bytes, GrowingJson]:
        """Return the SSE event of an entry."""
        frame, _ = self.inner.frame(entry, None)
        state, value = state.after(decode(entry.content, entry.offset, entry.epoch), self.limit_bytes)
        if value is not None:
            assert frame.endswith(_DATA_END)  # noqa: S101
            frame = b'%b,"partial":%b%b' % (frame[: -len(_DATA_END)], value, _DATA_END)
        return frame, state
