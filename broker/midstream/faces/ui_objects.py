"""The AI SDK's face with the value of an answer in JSON so far, as `data-object` (PROTOCOL: Structured/Partial)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from midstream.faces.growing_json import GrowingJson
from midstream.faces.sse_frames import HEARTBEAT, sse_frame
from midstream.faces.ui_messages import UiMessagesFace, UiMessagesState
from midstream.log.entries import Stored, decode

PART: Final = b'{"type":"data-object","id":"object","data":%b}'
"""Parts of one id replace each other."""

State = tuple[UiMessagesState, GrowingJson]


@dataclass(frozen=True)
class UiObjectsFace:
    """The frames of a message's face, with a part before those of a text or the end.

    Attributes:
        message: The face without the value.
        limit_bytes: Longest text whose value is sent.
    """

    message: UiMessagesFace
    limit_bytes: int

    heartbeat: ClassVar[bytes] = HEARTBEAT
    remembers_text: ClassVar[bool] = True

    def begin(self) -> State:
        """Return the state in which nothing has been sent."""
        return self.message.begin(), GrowingJson()

    def frame(self, entry: Stored, state: State) -> tuple[bytes, State]:
        """Return an entry's parts; the last of them has the cursor as its id, so the value goes before it."""
        frame, sent = self.message.frame(entry, state[0])
        text, value = state[1].after(decode(entry.content, entry.offset, entry.epoch), self.limit_bytes)
        if value is not None and frame:
            frame = sse_frame(PART % value) + frame
        return frame, (sent, text)

    def broker_stop(self, retry_ms: int) -> bytes:
        """Return what `message` does."""
        return self.message.broker_stop(retry_ms)

    def credential_end(self, reason: str) -> bytes:
        """Return what `message` does."""
        return self.message.credential_end(reason)

    def reset(self, reason: str) -> bytes:
        """Return what `message` does."""
        return self.message.reset(reason)
