"""The entries that an external producer sends, read as strictly as what an app yields (PROTOCOL: Produce/Entries)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from midstream.attempts.app_items import UnfitItemError, checked
from midstream.attempts.delta import Delta, Other, Reasoning, Text, ToolCall, ToolInput, Usage
from midstream.attempts.delta_entry import entry_of
from midstream.log.entries import Entry

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("text",),
    "reasoning": ("text",),
    "tool_input": ("id", "name", "delta"),
    "tool_call": ("id", "name", "arguments"),
    "usage": ("input_tokens", "output_tokens", "details"),
}
_DELTA_OF: Final[Mapping[str, Callable[..., Delta]]] = {
    "text": Text,
    "reasoning": Reasoning,
    "tool_input": ToolInput,
    "tool_call": ToolCall,
    "usage": Usage,
}


class BadEntryError(Exception):
    """One of the entries cannot become one; `index` counts from 0. Nothing of its batch is written."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(f"Entry {index} cannot be written: {message}.")
        self.index = index


def entries_of(lines: list[Any]) -> list[Entry]:
    """Return the entries of a batch.

    Raises:
        BadEntryError: One of them does not fit.
    """
    entries = []
    for index, line in enumerate(lines):
        try:
            entries.append(entry_of(checked(_delta(line))))
        except UnfitItemError as error:
            raise BadEntryError(index, str(error)) from None
    return entries


def _delta(line: Any) -> Delta:
    if not isinstance(line, dict) or not isinstance(line.get("type"), str):
        raise UnfitItemError("it is no object with a `type`")
    kind, fields = line["type"], {name: value for name, value in line.items() if name != "type"}
    names = _FIELDS.get(kind)
    if names is None:
        return Other(kind, fields)
    if kind == "usage":
        fields.setdefault("details", {})
    if set(fields) != set(names):
        raise UnfitItemError(f"a `{kind}` has the fields {', '.join(f'`{name}`' for name in names)}")
    if kind == "tool_call" and isinstance(fields["arguments"], dict):
        fields["arguments"] = orjson.dumps(fields["arguments"]).decode()
    return _DELTA_OF[kind](*(fields[name] for name in names))
