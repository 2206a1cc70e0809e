"""How a log line looks: its fields, its exception, as JSON or as text (PROTOCOL: Logs/Lines)."""

import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from midstream.journal.audit import REQUEST
from midstream.journal.plain_text import brief, harmless, harmless_line
from midstream.journal.trace_ids import TRACE_ID

FIELDS: Final = (
    *("stream", "tenant", "user", "credential", "request", "trace_id", "address"),
    *("act", "result", "reason", "omitted"),
)
"""What a line may have besides its sentence."""
_ENCODE: Final = json.JSONEncoder(default=str).encode
_ORDER: Final = ("time", "level", "logger", "event", *FIELDS, "exception")
_IN_THE_EVENT: Final = ("act", "result")
"""Fields that a line of the audit says in its sentence already."""
EVENT_CHARS: Final = 2_000
FIELD_CHARS: Final = 256
EXCEPTION_CHARS: Final = 16_000
MOST_CAUSES: Final = 8
SAFE_MESSAGES: Final = ("midstream.log.errors", "redis.exceptions")
"""Modules of errors whose message the server of the log writes. Any other message may hold what a user wrote."""


def formatter(*, as_json: bool) -> logging.Formatter:
    """Return the formatter of all lines, of our packages and of others."""
    render: Processor = _json if as_json else _text
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(FIELDS),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _clean,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            render,
        ]
    )


def _clean(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Cut everything to its longest size, leave out messages of exceptions, divide a stream's name."""
    event = str(line["event"])
    if line["logger"] == "asyncio":  # the lines after the first one show tasks and callbacks with what they hold
        event = event.partition("\n")[0]
    line["event"] = brief(event.strip(), EVENT_CHARS)
    line.setdefault("trace_id", TRACE_ID.get())
    for name in FIELDS:
        value = line.get(name)
        if value is not None and not isinstance(value, int):
            line[name] = brief(value, FIELD_CHARS)
    tenant, slash, stream_id = line.get("stream", "").rpartition("/")
    if slash:
        line["tenant"], line["stream"] = tenant, stream_id
    error = line.pop("exc_info", None)
    if error and error[1] is not None:
        line.setdefault("request", getattr(error[1], REQUEST, ""))
        line["exception"] = brief("\n".join(_exception(error[1])), EXCEPTION_CHARS)
    line.pop("stack_info", None)
    return line


def _exception(error: BaseException, causes: int = MOST_CAUSES) -> Iterator[str]:
    """Yield the lines of an exception: where it was raised, and its type. Its message may hold content.

    The message is left out, except that of an error of the system or of Redis.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and causes:
        yield from _exception(cause, causes - 1)
        yield "which led to:"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    kind = type(error)
    is_safe = isinstance(error, OSError) or kind.__module__ in SAFE_MESSAGES
    yield f"{kind.__module__}.{kind.__qualname__}" + (f": {error}" if is_safe else "")
    if isinstance(error, BaseExceptionGroup) and causes:
        for number, part in enumerate(error.exceptions[:MOST_CAUSES], 1):
            yield f"part {number}:"
            yield from _exception(part, causes - 1)


def _json(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    # Everything beyond ASCII is escaped, and so nothing that a terminal would obey is left, except DEL.
    return _ENCODE(_ordered(line)).replace("\x7f", "\\u007f")


def _text(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    words = _ordered(line)
    head = f"{words.pop('time')} {words.pop('level').upper()} {words.pop('logger')}: {words.pop('event')}"
    exception = words.pop("exception", "")
    facts = " ".join((head, *(f"{name}={value}" for name, value in words.items() if name not in _IN_THE_EVENT)))
    return harmless_line(facts) + (f"\n{harmless(exception)}" if exception else "")


def _ordered(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name in _ORDER if (value := line.get(name))}
