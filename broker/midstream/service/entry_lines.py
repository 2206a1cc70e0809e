"""The entries that an external producer sends, read as strictly as what an app yields (PROTOCOL: Produce/Entries)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from midstream.attempts.app_items import UnfitItemError, checked
from midstream.attempts.delta import Delta, Other, Reasoning, Text, ToolCall, ToolInput, Usage
from midstream.attempts.delta_entry import entry_of
from midstream.attempts.steps import BEGUN, DONE, MOST_NAME_CHARS, written
from midstream.log.entries import STEP, Entry, Json

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


def entries_of(lines: list[Any], step_bytes: int) -> list[Entry]:
    """Return the entries of a batch; `step_bytes` is how large a step's arguments and its result may each be.

    Raises:
        BadEntryError: One of them does not fit.
    """
    entries = []
    for index, line in enumerate(lines):
        try:
            is_step = isinstance(line, dict) and line.get("type") == STEP
            entries.append(_step(line, step_bytes) if is_step else entry_of(checked(_delta(line))))
        except UnfitItemError as error:
            raise BadEntryError(index, str(error)) from None
    return entries


def _step(line: Json, most_bytes: int) -> Entry:
    fields = {name: value for name, value in line.items() if name != "type"}
    texts = [fields.get("name"), fields.get("key")]
    kept = {BEGUN: {"arguments"}, DONE: {"result", "unfit"}}.get(str(fields.get("state")), set())
    rest = {name: value for name, value in fields.items() if name not in ("name", "key", "state")}
    if len(rest) != 1 or not rest.keys() <= kept or not all(map(_is_name, texts)):
        raise UnfitItemError(
            f"a `step` has a `name` and a `key` of 1 to {MOST_NAME_CHARS} characters, "
            "and the state `begun` with `arguments`, or `done` with `result` or `unfit`"
        )
    try:
        for value in rest.values():
            written(value, most_bytes)
    except ValueError as error:
        raise UnfitItemError(f"the {next(iter(rest))} of a step {error} (MIDSTREAM_STEP_BYTES)") from None
    return Entry(STEP, fields)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MOST_NAME_CHARS


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
