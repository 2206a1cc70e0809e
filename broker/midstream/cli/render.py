"""How the command line shows streams and entries to people."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from midstream.cli.table import MS_PER_S, table
from midstream.cli.terminal import echo
from midstream.client.client import ClientEntry
from midstream.journal.plain_text import harmless_line

COLUMNS: Final = ("id", "status", "model", "tail", "created")
PREVIEW_CHARS: Final = 100


class LiveText:
    """Prints a stream as it comes: its text to stdout, everything else to stderr."""

    def __init__(self) -> None:
        self._in_line = False

    def print(self, entry: ClientEntry) -> None:
        """Print one entry."""
        data = entry.data
        match entry.type:
            case "text":
                echo(data["text"], nl=False)
                self._in_line = not data["text"].endswith("\n")
            case "reasoning":
                echo(data["text"], dim=True, nl=False, err=True)
                self._in_line = not data["text"].endswith("\n")
            case "start" | "usage" | "tool_input" | "step":
                pass  # the end, or the whole call, repeats it; what a step holds is for operators
            case "end":
                self._note(_ending(data))
            case "reset":
                self._note(f"forget the text so far ({data.get('reason')})")
            case _:
                self._note(f"{entry.type} {json.dumps(data, ensure_ascii=False)}")

    def _note(self, words: str) -> None:
        if self._in_line:
            echo()
            self._in_line = False
        echo(f"[{harmless_line(words)}]", dim=True, err=True)


def streams(rows: Sequence[dict[str, Any]], fit: int) -> str:
    """Return streams as a table that fits a width."""
    if not rows:
        return "no streams"
    return table(COLUMNS, [_cells(row) for row in rows], fit)


def state(facts: dict[str, Any]) -> str:
    """Return a stream's state, with one fact on each line."""
    width = max(map(len, facts))
    return "\n".join(
        f"{harmless_line(name).ljust(width)}  {_plain(value)}" for name, value in facts.items() if value is not None
    )


def audit_row(row: dict[str, Any]) -> str:
    """Return what an operator has done as one line."""
    by = row.get("by", {})
    subject = f"{row.get('tenant', '')}/{row['stream']}" if "stream" in row else " ".join(row.get("where", ()))
    numbers = " ".join(f"{name}={json.dumps(row[name])}" for name in ("count", "done", "refused") if name in row)
    who = by.get("credential") or "anybody"
    words = (_time(row["time_ms"]), who, row["act"], subject, row["result"], numbers, row.get("reason", ""))
    return harmless_line("  ".join(filter(None, words)))


def entry(entry: ClientEntry) -> str:
    """Return an entry as one line. A long content is cut."""
    text = entry.data.get("text")
    line = harmless_line(json.dumps(entry.data if text is None else text, ensure_ascii=False))
    cut = line if len(line) <= PREVIEW_CHARS else f"{line[:PREVIEW_CHARS]}…"
    return f"{entry.offset:>6}  {harmless_line(entry.type):<11}  {cut}"


def _ending(end: dict[str, Any]) -> str:
    error = end.get("error") or {}
    reason = f"{error['code']}, {error['message']}" if error else end.get("finish_reason")
    usage = end.get("usage") or {}
    tokens = f"{usage['output_tokens']} tokens" if "output_tokens" in usage else None
    return ", ".join(f"{part}" for part in (end["outcome"], reason, tokens) if part)


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    created = _time(row.get("created_ms", 0))
    return (row["id"], row.get("outcome") or row["status"], row["model"], row["tail"], created)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / MS_PER_S, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: Any) -> str:
    return harmless_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
