"""Tables that fit the terminal, and numbers as people read them."""

import shutil
import sys
from collections.abc import Sequence
from typing import Any, Final
from unicodedata import category, east_asian_width

from midstream.journal.plain_text import harmless_line

GAP: Final = "  "
SHORTEST: Final = 12
"""No column is cut to fewer characters; where all are so short, the last columns are left out."""
SHORTEST_FIRST: Final = 32
"""The same for the first column: a stream's id, for other commands to take."""
WIDE: Final = ("W", "F")
"""Of `unicodedata.east_asian_width`: characters that take two columns of a terminal."""
UNSEEN: Final = ("Mn", "Me", "Cf")
"""Of `unicodedata.category`: characters that take none, such as accents and joiners."""
UNBOUNDED: Final = 10_000
KIB: Final = 1_024
MS_PER_S: Final = 1_000
MINUTE_S: Final = 60
HOUR_S: Final = 3_600
DAY_S: Final = 86_400


def width() -> int:
    """Return how many characters fit into a line of the output; a file or a pipe takes all."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else UNBOUNDED


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], fit: int) -> str:
    """Return rows below their head, cut to a width; numbers stand on the right."""
    cells = [[*head], *([_cell(value) for value in row] for row in rows)]
    widths = [max(_columns(row[column]) for row in cells) for column in range(len(head))]
    least = [min(width, SHORTEST if column else SHORTEST_FIRST) for column, width in enumerate(widths)]
    while len(least) > 1 and _total(least) > fit:
        least.pop()
    widths = widths[: len(least)]
    while _total(widths) > fit and widths != least:
        spare = [width - short for width, short in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    widths[0] = min(widths[0], fit)
    is_number = [
        bool(rows) and all(isinstance(row[column], int | float | None) for row in rows) for column in range(len(widths))
    ]
    lines = []
    for row in cells:
        aligned = (_aligned(*each) for each in zip(row, widths, is_number, strict=False))  # some may be left out
        lines.append(GAP.join(aligned).rstrip())
    return "\n".join(lines)


def facts(pairs: Sequence[tuple[str, Any]], fit: int) -> str:
    """Return names and values, one pair on each line, without those that have no value."""
    present = [(name, _cell(value)) for name, value in pairs if value is not None]
    longest = max((len(name) for name, _ in present), default=0)
    return "\n".join(f"{name.ljust(longest)}{GAP}{value}"[:fit] for name, value in present)


def span(span_ms: float | None) -> str:
    """Return a time in few characters: `850ms`, `4.2s`, `3m20s`, `5h07m`, `2d3h`."""
    if span_ms is None:
        return "-"
    seconds = span_ms / MS_PER_S
    if seconds < 1:
        return f"{round(span_ms)}ms"
    if seconds < MINUTE_S:
        return f"{seconds:.1f}s"
    if seconds < HOUR_S:
        return f"{int(seconds) // MINUTE_S}m{int(seconds) % MINUTE_S:02}s"
    if seconds < DAY_S:
        return f"{int(seconds) // HOUR_S}h{int(seconds) % HOUR_S // MINUTE_S:02}m"
    return f"{int(seconds) // DAY_S}d{int(seconds) % DAY_S // HOUR_S}h"


def size(size_bytes: float | None) -> str:
    """Return a size in few characters: `312 B`, `4.1 KiB`, `2.0 GiB`."""
    if size_bytes is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < KIB:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= KIB
    return f"{size_bytes:.1f} TiB"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else harmless_line(str(value))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _aligned(cell: str, most: int, is_number: bool) -> str:
    cut = _cut(cell, most)
    room = " " * (most - _columns(cut))
    return room + cut if is_number else cut + room


def _cut(cell: str, most: int) -> str:
    if _columns(cell) <= most:
        return cell
    while _columns(cell) >= most:
        cell = cell[:-1]
    return f"{cell}…"


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(1 + (east_asian_width(each) in WIDE) for each in text if category(each) not in UNSEEN)
