"""How the Python client reads a thread: what it yields, and what has to come next. Programs import `client.py`."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from midstream.client.client_tail import data_of
from midstream.client.sse_parser import ServerSentEvent

START: Final = "0"
"""The cursor before a thread's first stream."""
AFTER_END: Final = "end"
"""What the cursor after a stream's end has for an offset."""


@dataclass(frozen=True, slots=True)
class ThreadEntry:
    """One entry of a thread's streams, or a marker between them.

    Attributes:
        cursor: Where `tail_thread` goes on after it.
        stream_id: Its stream; empty: a `reset` of the whole thread.
        offset: Its offset in the stream; 0: it is in no log, as `stream_started`, `stream_ended`, and a `reset` that
            makes void what came of its stream.
        type: Its type.
        data: What it holds.
    """

    cursor: str
    stream_id: str
    offset: int
    type: str
    data: dict[str, Any]


class ThreadPosition:
    """The position in a thread: the id of the last event."""

    is_over: Final = False

    def __init__(self, after: str | None) -> None:
        self.cursor = after or START
        self._last_type = ""
        """Type of the last event that was taken; empty: there was none."""

    def accept(self, event: ServerSentEvent) -> ThreadEntry | None:
        """As of `Position`."""
        if event.type == "parting":
            return None  # it has no id: the next connection shows another token
        data, cursor = data_of(event), event.id or START
        stream_id, _, place = cursor.rpartition(".")
        last_id, _, last_place = self.cursor.rpartition(".")
        is_reset = event.type == "reset" and place == "0"
        if not is_reset and stream_id == last_id:
            if last_place == AFTER_END or (place != AFTER_END and int(place) <= int(last_place)):
                return None
            is_next = self._may_end(data) if place == AFTER_END else int(place) == int(last_place) + 1
            if not is_next:
                raise ValueError(f"{cursor} came after {self.cursor}")
        elif not is_reset and (event.type != "stream_started" or (self.cursor != START and last_place != AFTER_END)):
            raise ValueError(f"{cursor} came after {self.cursor}")
        self.cursor, self._last_type = cursor, event.type
        return ThreadEntry(cursor, stream_id, 0 if place == AFTER_END else int(place), event.type, data)

    def _may_end(self, marker: dict[str, Any]) -> bool:
        """Tell whether no entry can be missing before the marker of a stream's end (PROTOCOL: Threads/Events).

        It comes after the entry `end`, except where the stream is gone or its log was trimmed.
        """
        is_whole = marker.get("outcome") is not None and not marker.get("trimmed")
        return not is_whole or self._last_type in ("", "end")


def path_of_thread(thread: str) -> str:
    """Return the path of a thread; its name cannot lead to another path."""
    return f"/v1/threads/{quote(thread, safe='')}"
