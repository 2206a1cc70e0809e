"""Tables that fit the terminal, and numbers as people read them."""

import shutil
import sys
from collections.abc import Sequence
from typing import Any, Final

from midstream.journal.plain_text import harmless_line

GAP: Final = "  "
SHORTEST: Final = 6
"""No column is cut to fewer characters."""
UNBOUNDED: Final = 10_000
KIB: Final = 1_024
SECOND_MS: Final = 1_000
MINUTE_S: Final = 60
HOUR_S: Final = 3_600
DAY_S: Final = 86_400


def width() -> int:
    """Return how many characters fit into a line of the output; a file or a pipe takes all."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else UNBOUNDED


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], fit: int) -> str:
    """Return rows below their head, cut to a width; numbers stand on the right."""
    cells = [[*head], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    while sum(widths) + len(GAP) * (len(widths) - 1) > fit and max(widths) > SHORTEST:
        widths[widths.index(max(widths))] -= 1
    is_number = [
        bool(rows) and all(isinstance(row[column], int | float | None) for row in rows) for column in range(len(head))
    ]
    lines = []
    for row in cells:
        columns = zip(row, widths, is_number, strict=True)
        aligned = (
            _cut(cell, most).rjust(most) if right else _cut(cell, most).ljust(most) for cell, most, right in columns
        )
        lines.append(GAP.join(aligned)[:fit].rstrip())
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
    seconds = span_ms / SECOND_MS
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


def _cut(cell: str, most: int) -> str:
    return cell if len(cell) <= most else f"{cell[: most - 1]}…"
