"""The audit: one line for each act that changes something or was refused (PROTOCOL: Logs/Audit)."""

import logging
from typing import Final, NamedTuple

AUDIT: Final = "midstream.audit"
DONE: Final = "done"
REFUSED: Final = "refused"
REQUEST: Final = "midstream_request"
"""Attribute of an exception: the id of the request that it ended."""
logger = logging.getLogger(AUDIT)


class Asker(NamedTuple):
    """Where a request comes from.

    Attributes:
        request: The request's id; of a socket, that of the request that opened it.
        address: The client's address, as the server or the proxy that it trusts tells it; empty if it is unknown.
        traceparent: The header by which the client names its trace; empty: it sent none.
    """

    request: str = ""
    address: str = ""
    traceparent: bytes = b""


NOBODY: Final = Asker()


def done(act: str, asker: Asker, **facts: str | None) -> None:
    """Write that something was done.

    Args:
        act: `start`, `stop`, `delete`, `mint` or `session`.
        asker: Whose request it was.
        facts: `tenant`, `user`, `credential`, `stream`; what is empty is left out.
    """
    _write(act, DONE, asker, facts)


def refused(act: str, asker: Asker, **facts: str | None) -> None:
    """Write that a request was refused, and why.

    Args:
        act: The error's code, as in `insufficient_scope`.
        asker: Whose request it was.
        facts: As in `done`, and `reason`.
    """
    _write(act, REFUSED, asker, facts)


def is_done(record: logging.LogRecord) -> bool:
    """Tell whether a line is of something that was done. Limits bound how many there are, and none is left out."""
    return record.name == AUDIT and getattr(record, "result", None) == DONE


def _write(act: str, result: str, asker: Asker, facts: dict[str, str | None]) -> None:
    if logger.isEnabledFor(logging.INFO):
        words = {"act": act, "result": result, "request": asker.request, "address": asker.address, **facts}
        logger.info("%s %s", act, result, extra={name: value for name, value in words.items() if value})
