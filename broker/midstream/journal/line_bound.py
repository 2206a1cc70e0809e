"""Bounds how many log lines of one kind are written, because strangers can cause some (PROTOCOL: Logs/Bounded)."""

import logging
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from midstream.journal.audit import is_done

MOST_KINDS: Final = 1_000
"""Kinds that are counted at once; the one without a line for longest makes room."""
TEMPLATE_CHARS: Final = 200
Kind = tuple[str, ...]


@dataclass(slots=True)
class _Count:
    """The lines of one kind in one second, and those that were left out since their last count."""

    second: int
    written: int = 0
    omitted: int = 0
    last: logging.LogRecord | None = None


class LineBound:
    """Admits so many lines of a kind in a second, and counts the others.

    A kind is what lines have in common that differ in their facts alone: logger, level, template, reason, tenant.
    """

    def __init__(self, lines_per_s: int) -> None:
        self._lines_per_s = lines_per_s
        self._counts: OrderedDict[Kind, _Count] = OrderedDict()
        self._uncounted: set[Kind] = set()

    def admits(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be written, and count it."""
        if is_done(record):  # bounded by the limits of whom did it
            return True
        second, kind = int(record.created), _kind(record)
        count = self._counts.setdefault(kind, _Count(second))
        self._counts.move_to_end(kind)
        if len(self._counts) > MOST_KINDS:
            self._uncounted.discard(self._counts.popitem(last=False)[0])
        if count.second != second:
            count.second, count.written = second, 0
        if count.written < self._lines_per_s:
            count.written += 1
            return True
        count.omitted += 1
        count.last = record
        self._uncounted.add(kind)
        return False

    def counts(self, now_s: float = math.inf) -> list[logging.LogRecord]:
        """Return a line for each kind of which lines were left out in a second that is over, and forget these."""
        if not self._uncounted:
            return []
        over = [kind for kind in self._uncounted if self._counts[kind].second + 1 <= now_s]
        self._uncounted.difference_update(over)
        return [_line(self._counts[kind]) for kind in over]


def _kind(record: logging.LogRecord) -> Kind:
    facts = (getattr(record, name, "") for name in ("reason", "tenant"))
    return (record.name, record.levelname, str(record.msg)[:TEMPLATE_CHARS], *map(str, facts))


def _line(count: _Count) -> logging.LogRecord:
    """Return the line that stands for those that were left out, with the facts that they have in common."""
    last, omitted = count.last, count.omitted
    assert last is not None  # noqa: S101 - set with the count
    count.omitted, count.last = 0, None
    common = {name: getattr(last, name) for name in ("reason", "tenant") if hasattr(last, name)}
    line = {"name": last.name, "levelno": last.levelno, "levelname": last.levelname, "omitted": omitted}
    words = {"msg": "%d more lines were left out; the last one was: %s", "args": (omitted, last.getMessage())}
    return logging.makeLogRecord(common | line | words)
