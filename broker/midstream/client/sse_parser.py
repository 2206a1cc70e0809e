"""Parses an event stream by the WHATWG algorithm ("Interpreting an event stream"), without I/O.

The bytes may be cut anywhere, even inside a UTF-8 character or between CR and LF.
"""

import codecs
import re
from dataclasses import dataclass
from typing import Final

MAX_EVENT_CHARS: Final = 33_554_432
"""Most characters of one event: twice the largest output that a stream may hold by default."""

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_RETRY: Final = re.compile(r"[0-9]{1,9}")  # a longer one would be more than 11 days


class EventTooLargeError(ValueError):
    """The server sent an event of more than `MAX_EVENT_CHARS` characters."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event. `id` is the last id on the stream so far, which may be that of an earlier event."""

    type: str
    data: str
    id: str


class EventStreamParser:
    """Turns the bytes of one connection into events.

    Attributes:
        retry_ms: The reconnection delay that the server asked for, or None.
    """

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending: list[str] = []  # pieces of the line that has not ended yet
        self._ended_in_cr = False  # then a LF that comes next belongs to the same end of line
        self._size_chars = 0
        self._at_start = True
        self._type = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes and return the events that they complete.

        An event that is not complete when the connection ends is dropped, as the standard says.

        Raises:
            EventTooLargeError: An event is too long.
        """
        text = self._decoder.decode(chunk)
        if not text:
            return []
        if self._at_start:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        self._size_chars += len(text)
        events = [event for line in self._lines(text) if (event := self._take(line))]
        if self._size_chars > MAX_EVENT_CHARS:
            raise EventTooLargeError(f"an event of the stream has more than {MAX_EVENT_CHARS} characters")
        return events

    def _lines(self, text: str) -> list[str]:
        if self._ended_in_cr:
            text = text.removeprefix("\n")
        self._ended_in_cr = text.endswith("\r")
        *lines, rest = _LINE_END.split(text)
        if lines:
            lines[0] = "".join(self._pending) + lines[0]
            self._pending.clear()
        if rest:
            self._pending.append(rest)
        return lines

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if _RETRY.fullmatch(value):
                self.retry_ms = int(value)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event = ServerSentEvent(self._type or "message", "\n".join(self._data), self._id)
        has_data = bool(self._data)
        self._type = ""
        self._data = []
        self._size_chars = 0
        return event if has_data else None
