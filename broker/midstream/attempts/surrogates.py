"""Joins characters whose two halves arrive in two deltas, so that every delta is valid UTF-8."""

_FIRST_HIGH, _FIRST_LOW = "\ud800", "\udc00"
_REPLACEMENT = "\ufffd"


class SurrogateJoiner:
    """Holds back the first half of a character until its second half has come.

    JSON writes a character beyond U+FFFF as two escapes, and providers cut their deltas anywhere. One joiner
    serves one run of text.
    """

    def __init__(self) -> None:
        self._held = ""

    def push(self, piece: str) -> str:
        """Return what can be passed on now; maybe nothing. Halves without their other half become U+FFFD."""
        if not self._held and piece.isascii():
            return piece
        piece = self._held + piece
        self._held = piece[-1] if piece and _FIRST_HIGH <= piece[-1] < _FIRST_LOW else ""
        return joined(piece[: len(piece) - len(self._held)])

    def flush(self) -> str:
        """Return U+FFFD for a half that is still held, else nothing: the run of text is over."""
        held, self._held = self._held, ""
        return _REPLACEMENT if held else ""


def joined(text: str) -> str:
    """Return a text with all halves joined, and those without their other half replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # UTF-16 is where pairs of halves are one character; a half alone decodes to the replacement.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
