"""Looks for what no log line may hold, in all lines that a test run writes (PROTOCOL: Logs/Private)."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from midstream.journal.foreign_lines import is_fit
from midstream.journal.line_format import formatter

PLANTED = re.compile(
    r'\\?"script\\?": ?'  # the prompts that the test provider follows
    r"|w0 w1 "  # its answers
    r"|eyJ[\w-]{8,}\."  # tokens
    r"|\bms_\w+_[\w-]{40,}"  # keys
    r"|\bsk-\w{3,}|Bearer [\w-]|\bmidstream=|swordfish"
)
"""Keys, tokens, cookies, prompts and answers, as tests make them; a test of its own secrets uses the last word."""


def leaks_in(folder: Path) -> Iterator[str]:
    """Yield the lines that hold a secret, of all log files in a folder."""
    for path in sorted(folder.glob("*.log")):
        yield from (
            f"{path.name}: {line[:300]}"
            for line in path.read_text(errors="replace").splitlines()
            if PLANTED.search(line)
        )


class Watch(logging.Handler):
    """Keeps the lines of this process that hold a secret, as a program would have written them."""

    def __init__(self) -> None:
        super().__init__()
        self.leaks: list[str] = []
        self.addFilter(is_fit)
        self.setFormatter(formatter(as_json=True))

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one line."""
        line = self.format(record)
        if PLANTED.search(line):
            self.leaks.append(line[:300])
