"""The typed entries of a stream, and their form on the log.

A stored entry is one type byte and its payload (PROTOCOL: Entries/Codec). `text` and `reasoning`, which are nearly all
of a generation, are stored as bare UTF-8, and every other type as compact JSON. Stored entries are always valid UTF-8,
so the byte 0xFF never occurs in one, and separates the entries of a published batch without any escaping.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

Json = dict[str, Any]
"""A JSON object."""

START: Final = "start"
TEXT: Final = "text"
REASONING: Final = "reasoning"
TOOL_INPUT: Final = "tool_input"
TOOL_CALL: Final = "tool_call"
TOOL_RESULT: Final = "tool_result"
SOURCE: Final = "source"
FILE: Final = "file"
DATA: Final = "data"
STATUS: Final = "status"
RESET: Final = "reset"
STEP: Final = "step"
USAGE: Final = "usage"
END: Final = "end"

COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
INTERRUPTED: Final = "interrupted"
OUTCOMES: Final = (COMPLETED, FAILED, CANCELLED, INTERRUPTED)

_BYTE_OF: Final[dict[str, bytes]] = {
    START: b"s",
    TEXT: b"t",
    REASONING: b"r",
    TOOL_INPUT: b"i",
    TOOL_CALL: b"c",
    TOOL_RESULT: b"o",
    SOURCE: b"u",
    FILE: b"f",
    DATA: b"d",
    STATUS: b"w",
    RESET: b"x",
    STEP: b"p",
    USAGE: b"g",
    END: b"e",
}
TYPES: Final = tuple(_BYTE_OF)
_TYPE_OF: Final = {byte[0]: name for name, byte in _BYTE_OF.items()}
_BARE: Final = frozenset((TEXT, REASONING))

_NO_WORDS: Final = frozenset(_BYTE_OF[kind] for kind in (START, STATUS, STEP, END))

SEPARATOR: Final = b"\xff"
AROUND_LEVELS: Final = 16
"""How many levels an entry and what shows it may put around a value. orjson writes 254 in all."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One typed item of a stream.

    `offset` and `epoch` are 0 until the log has assigned them.
    """

    type: str
    data: dict[str, Any]
    offset: int = 0
    epoch: int = 0

    @property
    def text(self) -> str:
        """The text of a `text` or `reasoning` entry, else the empty string."""
        return str(self.data["text"]) if self.type in _BARE else ""


class Stored(NamedTuple):
    """One entry as it stands in the log, not yet decoded. A tuple: a replay makes hundreds of thousands a second."""

    offset: int
    epoch: int
    content: bytes


class Timed(NamedTuple):
    """A stored entry, and when it was appended in ms of the server's clock; None: unknown."""

    entry: Stored
    written_ms: int | None


Row = tuple[bytes, list[bytes]]
"""One item of a Redis stream as XRANGE gives it: an id `<offset>-<epoch>`, and the field: its time and its content."""


def text(content: str) -> Entry:
    """Return an entry of the answer's text."""
    return Entry(TEXT, {"text": content})


def require_json(value: object) -> None:
    """Refuse what no entry can hold.

    Raises:
        TypeError: It is no JSON, or nested so deep that no answer with the entry could be written.
    """
    for _ in range(AROUND_LEVELS):
        value = [value]
    orjson.dumps(value)


def encode(entry: Entry) -> bytes:
    """Return the stored form: the type byte, then bare text or compact JSON.

    Raises:
        KeyError: The type is not one of `TYPES`.
        UnicodeEncodeError: The text holds a lone surrogate; sources join them before they get here.
    """
    byte = _BYTE_OF[entry.type]
    if entry.type in _BARE:
        return byte + str(entry.data["text"]).encode()
    return byte + orjson.dumps(entry.data)


def type_of(stored: bytes) -> str | None:
    """Return the type of an entry in its stored form; None where it is none."""
    return _TYPE_OF.get(stored[0]) if stored else None


def decode(stored: bytes, offset: int, epoch: int) -> Entry:
    """Return the entry that is stored in this form.

    Raises:
        ValueError: The bytes are not a stored entry; the log was written by something else.
    """
    kind = type_of(stored)
    if kind is None:
        raise ValueError(f"entry {offset} has no known type byte: {stored[:16]!r}")
    if kind in _BARE:
        return Entry(kind, {"text": stored[1:].decode()}, offset, epoch)
    data = orjson.loads(stored[1:])
    if type(data) is not dict:
        raise ValueError(f"entry {offset} is no JSON object")
    return Entry(kind, data, offset, epoch)


def fields_for_clients(entry: Entry) -> Json:
    """Return what clients are shown of an entry: of a step nothing but that it is there (PROTOCOL: Step/Private)."""
    return {} if entry.type == STEP else entry.data


def is_end(stored: bytes) -> bool:
    """Tell whether a stored entry is the terminal one, without decoding it."""
    return stored[:1] == _BYTE_OF[END]


def is_usage(stored: bytes) -> bool:
    """Tell whether a stored entry is what a provider has counted, without decoding it."""
    return stored[:1] == _BYTE_OF[USAGE]


def is_word(stored: bytes) -> bool:
    """Tell whether a stored entry is something that the source has produced, without decoding it."""
    return stored[:1] not in _NO_WORDS


class Call(NamedTuple):
    """What a `tool_input` or `tool_call` says of a call; `piece` is a fragment of its arguments, or all of them."""

    id: str
    name: str
    piece: str


CALL_FIELDS: Final = {TOOL_INPUT: ("id", "name", "delta"), TOOL_CALL: ("id", "name", "arguments")}
"""The texts that each entry of a call has."""


def call_of(entry: Entry) -> Call:
    """Return the call of a `tool_input` or `tool_call`.

    What is missing is empty: a log that came from elsewhere, or from an older version, may lack what is required now.
    """
    piece = entry.data.get("delta" if entry.type == TOOL_INPUT else "arguments", "")
    if not isinstance(piece, str):
        piece = orjson.dumps(piece).decode()
    return Call(str(entry.data.get("id") or ""), str(entry.data.get("name") or ""), piece)


def parse_publication(message: bytes) -> list[Stored]:
    """Return the entries that an append published (PROTOCOL: Append/Published)."""
    head, *contents = message.split(SEPARATOR)
    first, epoch = map(int, head.split(b"-"))
    return [Stored(offset, epoch, content) for offset, content in enumerate(contents, first)]


def stored_rows(rows: list[Row]) -> list[Stored]:
    """Return the entries of rows."""
    new = tuple.__new__  # past the constructor that NamedTuple writes, which costs as much as all the rest
    return [
        new(Stored, (int(offset), int(epoch), content))
        for row_id, (_, content) in rows
        for offset, epoch in (row_id.split(b"-"),)
    ]


def timed_entries(entries: list[Stored], rows: list[Row], created_ms: int) -> list[Timed]:
    """Return entries with the times of their rows, of a stream that was created at `created_ms`."""
    return [
        # An older version called the field `e` (PROTOCOL: Entries/Time).
        Timed(entry, created_ms + int(name) if name.isdigit() else None)
        for entry, (_, (name, _)) in zip(entries, rows, strict=False)
    ]
