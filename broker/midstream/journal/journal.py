"""Sets up the log lines of a process, the broker's and the worker's alike (PROTOCOL: Logs)."""

import contextlib
import logging
import sys
from typing import Final

from midstream.journal.audit import AUDIT
from midstream.journal.foreign_lines import is_fit
from midstream.journal.journal_settings import JournalSettings
from midstream.journal.line_bound import LineBound
from midstream.journal.line_format import formatter

_OURS: Final = ("midstream", "midstream_worker")


def configure(settings: JournalSettings) -> None:
    """Write all lines of this process to stderr; those of other packages at `info` or above."""
    handler = _Bounded(settings.log_lines_per_s)
    handler.setFormatter(formatter(as_json=settings.logs_json))
    handler.addFilter(is_fit)
    # Facts that no line shows, and that take a third of the time of a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as the documentation of logging says
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.foreign_log_level.upper())
    for ours in _OURS:
        logging.getLogger(ours).setLevel(settings.log_level.upper())
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


def write_counts() -> None:
    """Write how many lines were left out so far. Uvicorn ends its process by a signal, after which nothing runs."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Bounded):
            handler.write_counts()


class _Bounded(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes lines, of each kind only so many in a second; `handle` holds the lock of a handler meanwhile."""

    def __init__(self, lines_per_s: int) -> None:
        super().__init__(sys.stderr)
        self._bound = LineBound(lines_per_s)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, and before it how many were left out."""
        for count in self._bound.counts(record.created):
            super().emit(count)
        if self._bound.admits(record):
            super().emit(record)

    def write_counts(self) -> None:
        """Write how many lines were left out of those that nothing came after."""
        with self.lock or contextlib.nullcontext():
            for count in self._bound.counts():
                super().emit(count)

    def close(self) -> None:
        """Write the same at the end of the process."""
        self.write_counts()
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Say that a line could not be written, without the line, which the standard library would print."""
        kind = sys.exc_info()[0]
        with contextlib.suppress(OSError):  # nobody reads any more
            sys.stderr.write(f"a line of {record.name} could not be logged: {kind.__name__ if kind else ''}\n")
