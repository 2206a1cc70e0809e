"""An answer in JSON as it grows: the value that its text stands for so far (PROTOCOL: Structured/Partial). Pure."""

from dataclasses import dataclass
from typing import Any, Final

import jiter
import orjson

from midstream.faces.rope import Rope, text_of
from midstream.log.entries import END, RESET, TEXT, Entry

OBJECTS_PER_DOUBLING: Final = 32
"""A long text is parsed again when it has grown by one part in so many, so that what is sent grows with the text."""
_OPEN: Final = b"0123456789+-.eE"
"""What a number at the end may go on with: until it is whole, its value is another one."""


@dataclass(frozen=True, slots=True)
class GrowingJson:
    """The text of an answer so far.

    Attributes:
        text: What has come, as long as it is not too long.
        size_bytes: The text's size.
        sent_bytes: Its size when its value was sent last.
    """

    text: Rope = None
    size_bytes: int = 0
    sent_bytes: int = 0

    def after(self, entry: Entry, limit_bytes: int) -> tuple["GrowingJson", bytes | None]:
        """Return the text after an entry, and its value as JSON; None: there is none, or it is not sent again yet.

        Nothing is sent of a text that is larger than `limit_bytes`.
        """
        if entry.type == RESET:
            return GrowingJson(), None
        if entry.type not in (TEXT, END):
            return self, None
        size_bytes = self.size_bytes + len(entry.text.encode())
        if size_bytes > limit_bytes:
            return GrowingJson(None, size_bytes, size_bytes), None
        rope: Rope = (self.text, entry.text)
        grown_bytes = size_bytes - self.sent_bytes
        if not grown_bytes or (entry.type == TEXT and grown_bytes < size_bytes // OBJECTS_PER_DOUBLING):
            return GrowingJson(rope, size_bytes, self.sent_bytes), None
        return GrowingJson(rope, size_bytes, size_bytes), partial_value(text_of(rope).encode())


def partial_value(text: bytes) -> bytes | None:
    """Return the value of a text so far as JSON; None where there is none, because none has begun or it is no JSON.

    From value to value strings grow, and arrays and objects gain members. Whatever else has come stays as it is.
    """
    try:
        value: Any = jiter.from_json(text.rstrip(_OPEN), partial_mode="trailing-strings", allow_inf_nan=False)
        return orjson.dumps(value)
    except (ValueError, TypeError):  # an integer of more than 64 bits is a TypeError
        return None
