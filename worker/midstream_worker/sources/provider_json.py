"""Reads a provider's JSON, whose values may not have the types that the provider's API promises.

Every value that becomes part of a delta is checked here, so that the types of a delta's fields are always true.
"""

import json
from collections.abc import Iterator
from typing import Final

from midstream.attempts.delta import MOST_TOKENS, SourceError, Usage
from midstream.attempts.surrogates import joined
from midstream.log.entries import Json

CALL_BYTES: Final = 1_024
"""What one tool call counts in memory, besides its texts."""


class MisfitError(ValueError):
    """A value is not of the type that the provider's API promises; the message names the field, never the value."""


class Budget:
    """How much of one answer a reader may hold back until the answer's end.

    Args:
        limit_bytes: `MIDSTREAM_MAX_OUTPUT_BYTES`.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._left_bytes = limit_bytes

    def spend(self, size_bytes: int) -> None:
        """Take a part of the budget.

        Raises:
            SourceError: `output_too_large`: nothing is left.
        """
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise too_large()


def too_large() -> SourceError:
    """Return the failure of an answer that outgrew the log of one stream."""
    return SourceError("output_too_large", "The output is larger than MIDSTREAM_MAX_OUTPUT_BYTES.")


def as_object(value: object, name: str = "event") -> Json:
    """Return a JSON object; null is an empty one.

    Raises:
        MisfitError: It is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MisfitError(f"sent `{name}` that is not an object")
    return value


def member(holder: Json, name: str) -> Json:
    """Return an object's member that is an object itself; an empty one for null or nothing."""
    return as_object(holder.get(name), name)


def objects(holder: Json, name: str) -> Iterator[Json]:
    """Yield the objects of a member that is a list; none for null or an absent one."""
    value = holder.get(name)
    if value is None:
        return
    if not isinstance(value, list):
        raise MisfitError(f"sent `{name}` that is not a list")
    for item in value:
        yield as_object(item, name)


def piece(holder: Json, name: str) -> str:
    """Return a member that is a piece of a text, maybe cut within a character; empty for null or an absent one."""
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MisfitError(f"sent `{name}` that is not a text")
    return value


def text(holder: Json, name: str) -> str:
    """Return a member that is a whole text, as valid Unicode; empty for null or an absent one."""
    return joined(piece(holder, name))


def written(value: Json) -> str:
    """Return an object as JSON text, with numbers of any size, and in valid Unicode."""
    return joined(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def figure(holder: object, name: str) -> int | None:
    """Return an object's member that is a count; `None` for anything else."""
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS else None


def usage(counted: Json, fields: tuple[str, str], details: dict[str, int | None]) -> Usage | None:
    """Return what the provider counted, or `None` if none of it can be read.

    Figures that cannot be read are left out: an answer that is paid for must not fail because of them.

    Args:
        counted: The provider's object.
        fields: The names of its figures of input and of output.
        details: Further figures; those that are `None` are left out.
    """
    tokens = [figure(counted, name) for name in fields]
    if all(count is None for count in tokens):
        return None
    counts = {name: count for name, count in details.items() if count is not None}
    return Usage(tokens[0] or 0, tokens[1] or 0, counts)
