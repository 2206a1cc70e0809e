"""The cursor of a list of streams: the last row of a page, after which the next one begins."""

import re
from typing import Final

from midstream.http.problems import Problem
from midstream.service.listing import Listed

_CREATED_MS: Final = re.compile("[0-9]{1,15}")


def read(cursor: str | None) -> Listed | None:
    """Return the row that a cursor stands for; None for the first page.

    Raises:
        Problem: 400 `bad_cursor`.
    """
    if cursor is None:
        return None
    created_ms, _, last_id = cursor.partition("-")
    if not (_CREATED_MS.fullmatch(created_ms) and last_id):
        raise Problem(400, "bad_cursor", "cursor must be a page's `next_cursor`.", cursor=cursor[:64])
    return Listed(last_id, int(created_ms))


def write(last: Listed | None) -> str | None:
    """Return the cursor for the page after a row; None where there is none."""
    return f"{last.created_ms}-{last.stream_id}" if last else None
