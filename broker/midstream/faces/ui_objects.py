"""The AI SDK's face with the value of an answer in JSON so far, as `data-object` (PROTOCOL: Structured/Partial)."""

from typing import Final

from midstream.faces.face_base import FaceBase
from midstream.faces.growing_json import GrowingJson
from midstream.faces.sse_frames import sse_frame
from midstream.faces.ui_messages import UiMessagesFace, UiMessagesState
from midstream.log.entries import Stored, decode

PART: Final = b'{"type":"data-object","id":"object","data":%b}'
"""Parts of one id replace each other."""

State = tuple[UiMessagesState, GrowingJson]


class UiObjectsFace(FaceBase[UiMessagesFace]):
    """The frames of a message's face, with a part before those of a text or the end."""

    def begin(self) -> State:
        """Return the state in which nothing has been sent."""
        return self.inner.begin(), GrowingJson()

    def frame(self, entry: Stored, state: State) -> tuple[bytes, State]:
        """Return an entry's parts; the last of them has the cursor as its id, so the value goes before it."""
        frame, sent = self.inner.frame(entry, state[0])
        text, value = state[1].after(decode(entry.content, entry.offset, entry.epoch), self.limit_bytes)
        if value is not None and frame:
            frame = sse_frame(PART % value) + frame
        return frame, (sent, text)
