"""Configures a worker's logging, and which lines of other packages it writes."""

import logging
from typing import Final

from midstream.settings import Settings

_WRITE_REQUESTS: Final = ("openai", "anthropic", "httpx2", "httpcore2", "httpx", "httpcore", "urllib3", "websockets")
"""Packages that log whole requests, with prompts and keys in them, or a useless line for each request."""
_NEVER_BELOW: Final = dict.fromkeys((*_WRITE_REQUESTS, "arq"), logging.WARNING)


def configure(settings: Settings) -> None:
    """Log to stderr, at the configured level; lines of other packages at `info` or above.

    PROTOCOL: Logs/Private.
    """
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=settings.foreign_log_level.upper(), format=form)
    for ours in ("midstream", "midstream_worker"):
        logging.getLogger(ours).setLevel(settings.log_level.upper())
    # The handlers filter, because an SDK that is imported later sets its loggers' levels itself (OPENAI_LOG=debug).
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_allowed)


def _is_allowed(record: logging.LogRecord) -> bool:
    return record.levelno >= _NEVER_BELOW.get(record.name.partition(".")[0], logging.NOTSET)
