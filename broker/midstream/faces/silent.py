"""A face that says nothing, for whoever only waits for the end."""

from midstream.log.entries import Stored


class SilentFace:
    """Every frame is empty."""

    heartbeat: bytes = b""

    def begin(self) -> None:
        """Remember nothing."""

    def frame(self, entry: Stored, state: None) -> tuple[bytes, None]:  # noqa: ARG002
        """Return nothing."""
        return b"", state

    def parting(self, retry_ms: int) -> bytes:  # noqa: ARG002
        """Return nothing."""
        return b""

    def reset(self, reason: str) -> bytes:  # noqa: ARG002
        """Return nothing."""
        return b""
