"""A face for whoever only waits for the first word."""

from midstream.faces.silent import SilentFace
from midstream.log.entries import Stored, is_word


class FirstWordFace(SilentFace):
    """Every frame of an entry that says something is a dot."""

    def frame(self, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return the entry's frame."""
        return b"." if is_word(entry.content) else b"", state
