"""The cursor of a thread, as clients send it (PROTOCOL: Threads/Events)."""

import re
from typing import Final

from midstream.faces.thread import AFTER_END, START
from midstream.http.problems import Problem

_CURSOR: Final = re.compile(rf"([A-Za-z0-9_-]{{1,128}})\.([0-9]{{1,15}}|{AFTER_END})")


def read_thread_cursor(cursor: str | None) -> tuple[str, int | None] | None:
    """Return the stream and the offset of a cursor, None in place of the offset after the stream's end.

    Raises:
        Problem: 400 `bad_cursor`.
    """
    if not cursor or cursor == START:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise Problem(400, "bad_cursor", "A cursor is `<stream id>.<offset>`, as in an event's id.", cursor=cursor[:64])
    return match[1], None if match[2] == AFTER_END else int(match[2])
