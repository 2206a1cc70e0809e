"""Text of others that is shown to people: in an error's message, in a log, on a terminal."""

import re
from typing import Final

_COMMANDS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters (C0 and C1) but newline and tab, what overrides the direction of text, and lone surrogates."""
_SHOWN_AS: Final = "\ufffd"


def harmless(text: str) -> str:
    """Return the text with every character that a terminal would obey replaced; newline and tab stay."""
    return _COMMANDS.sub(_SHOWN_AS, text.replace("\r\n", "\n"))


def brief(message: object, limit_chars: int) -> str:
    """Return a message made harmless. It is cut first: whoever raises an error may give anything for its message."""
    text = str(message)
    return harmless(text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…")
