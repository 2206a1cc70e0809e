"""Which lines of other packages are logged: none that holds a request or an answer (PROTOCOL: Logs/Private)."""

import logging
from typing import Final

_WRITE_REQUESTS: Final = (
    *("openai", "anthropic", "google_genai", "google", "google.genai"),
    *("httpx2", "httpcore2", "httpx", "httpcore", "urllib3", "websockets"),
)
"""Packages that log whole requests, with prompts and keys in them, or a useless line for each request."""
_LOWEST: Final = dict.fromkeys((*_WRITE_REQUESTS, "arq"), logging.WARNING) | {
    "asyncio": logging.ERROR,  # its warnings show callbacks with their arguments
}
_EACH_SOCKET: Final = ('"WebSocket', "connection open", "connection closed")
"""Parts of the lines that uvicorn writes for each WebSocket, with the query of its URL."""


def is_fit(record: logging.LogRecord) -> bool:
    """Tell whether a line may be logged; lines of ours always may.

    Handlers ask this, because an SDK that is imported later sets its loggers' levels itself (`OPENAI_LOG=debug`).
    """
    package = record.name.partition(".")[0]
    if record.levelno < _LOWEST.get(package, logging.NOTSET):
        return False
    return package != "uvicorn" or not any(part in str(record.msg) for part in _EACH_SOCKET)
