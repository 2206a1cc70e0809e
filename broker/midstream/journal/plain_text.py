"""Makes text of others safe to show to people: in an error's message, in a log file, on a terminal."""

import re
from typing import Final

_COMMANDS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters (C0 and C1) except newline and tab, what overrides the direction of text, and lone surrogates."""
_LINE_BREAKS: Final = re.compile("[\n\t\u2028\u2029]")
_REPLACEMENT: Final = "\ufffd"


def harmless(text: str) -> str:
    """Return the text with a replacement for each character that a terminal would obey; newline and tab stay."""
    return _COMMANDS.sub(_REPLACEMENT, text.replace("\r\n", "\n"))


def brief(message: object, limit_chars: int) -> str:
    """Return at most so many characters of a message, made harmless. It is cut first, because it may be of any size."""
    text = str(message)
    if len(text) <= limit_chars and text.isprintable() and text.isascii():
        return text
    return harmless(text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…")


def harmless_line(text: str) -> str:
    """Return the text as one line without control characters, so that it cannot pass for another line of ours."""
    return _LINE_BREAKS.sub(" ", harmless(text))
