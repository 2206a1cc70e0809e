"""Where a worker logs, and what of others it lets in."""

import logging
from typing import Final

from midstream.settings import Settings

_WRITE_REQUESTS: Final = ("openai", "anthropic", "httpx2", "httpcore2", "httpx", "httpcore", "urllib3", "websockets")
"""Packages that log whole requests, with prompts and keys in them, or a line for each that tells nothing."""
_NEVER_BELOW: Final = dict.fromkeys((*_WRITE_REQUESTS, "arq"), logging.WARNING)


def configure(settings: Settings) -> None:
    """Log to stderr: ours from the level that is set, what others write from `info` at the lowest.

    PROTOCOL: Logs/Private.
    """
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=settings.foreign_log_level.upper(), format=form)
    for ours in ("midstream", "midstream_worker"):
        logging.getLogger(ours).setLevel(settings.log_level.upper())
    # At the handlers and not at the loggers alone: an SDK that is imported later sets its own (OPENAI_LOG=debug).
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_fit)


def _is_fit(record: logging.LogRecord) -> bool:
    return record.levelno >= _NEVER_BELOW.get(record.name.partition(".")[0], logging.NOTSET)
