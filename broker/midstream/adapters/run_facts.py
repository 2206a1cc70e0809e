"""What all adapters tell of a run in the same way: its lanes, the results of its tools, its output, its tokens."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Any, Final

import orjson
from pydantic_core import PydanticSerializationError, to_json

from midstream.attempts.delta import Delta, Other, Usage
from midstream.log.entries import DATA, TOOL_RESULT

LANE: Final = "lane"
"""The kind of `data` that names the sub-agent which writes what follows."""
OBJECT: Final = "object"
"""The kind of `data` that holds a structured output."""


async def read_by(
    read: Callable[[Any], Iterable[Delta]], events: AsyncIterator[Any], usage: Callable[[], Iterable[Delta]]
) -> AsyncGenerator[Delta]:
    """Yield what `read` makes of each event, and at the end the usage: where the run fails, before it raises."""
    try:
        async for event in events:
            for delta in read(event):
                yield delta
    except Exception:
        for delta in usage():
            yield delta
        raise
    finally:
        if hasattr(events, "aclose"):
            await events.aclose()
    for delta in usage():
        yield delta


def lane(name: str) -> Other:
    """Return the mark that what follows is written by the sub-agent of this name; empty: by the agent itself."""
    return Other(DATA, {"kind": LANE, "name": name})


def custom(kind: str, value: Any) -> Other:
    """Return an event of the user's own, under its name."""
    fields = plain(value)
    return Other(DATA, {**(fields if isinstance(fields, dict) else {"value": fields}), "kind": kind})


def structured(value: Any) -> Other:
    """Return a structured output."""
    return Other(DATA, {"kind": OBJECT, "value": plain(value)})


def tool_result(call_id: str | None, name: str | None, output: Any, error: str | None = None) -> Other:
    """Return what a tool returned; with `error` it failed."""
    fields = {"id": call_id or None, "name": name, "output": plain(output), "error": error}
    return Other(TOOL_RESULT, {field: value for field, value in fields.items() if value is not None})


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: models as objects, dates as texts, and of what has no JSON only its type."""
    try:
        return orjson.loads(to_json(value, fallback=_type_of, inf_nan_mode="null"))
    except (PydanticSerializationError, orjson.JSONDecodeError):  # bytes that are no text, a circle, a half surrogate
        return _type_of(value)


def _type_of(value: Any) -> str:
    return f"<{type(value).__name__}>"


class Tokens:
    """Adds up the tokens of a run's calls."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}

    def add(self, **counts: Any) -> "Tokens":
        """Add counts, named as in a `usage` entry; what is no count is left out."""
        for name, count in counts.items():
            if isinstance(count, int) and count > 0:
                self._sums[name] = self._sums.get(name, 0) + count
        return self

    def usage(self) -> list[Delta]:
        """Return the usage; none where nothing was counted."""
        details = dict(self._sums)
        written, read = details.pop("output_tokens", 0), details.pop("input_tokens", 0)
        return [Usage(read, written, details)] if self._sums else []
