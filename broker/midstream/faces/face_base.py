"""A face that adds to the frames of another one, which ends its tails."""

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from midstream.faces.face import FACE_BYTES
from midstream.faces.native import NativeFace
from midstream.faces.sse_frames import HEARTBEAT
from midstream.faces.ui_messages import UiMessagesFace

Inner = TypeVar("Inner", NativeFace, UiMessagesFace)


@dataclass(frozen=True)
class FaceBase(Generic[Inner]):
    """The part that the faces with the growing value of an answer in JSON have in common.

    Attributes:
        inner: The face without the value.
        limit_bytes: Longest text whose value is sent.
    """

    inner: Inner
    limit_bytes: int

    heartbeat: ClassVar[bytes] = HEARTBEAT
    remembers_text: ClassVar[bool] = True
    size_bytes: ClassVar[int] = FACE_BYTES

    def broker_stop(self, retry_ms: int) -> bytes:
        """Return what `inner` does."""
        return self.inner.broker_stop(retry_ms)

    def credential_end(self, reason: str) -> bytes:
        """Return what `inner` does."""
        return self.inner.credential_end(reason)

    def reset(self, reason: str) -> bytes:
        """Return what `inner` does."""
        return self.inner.reset(reason)
