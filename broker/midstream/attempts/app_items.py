"""Checks what an app yields before it goes further: what passes can be logged, and read by every face."""

from collections.abc import Iterator
from typing import Any, Final, get_args

from midstream.attempts.delta import (
    MOST_TOKENS,
    Delta,
    Finish,
    FinishReason,
    Other,
    Reasoning,
    Text,
    ToolCall,
    ToolInput,
    Upstream,
    Usage,
)
from midstream.attempts.surrogates import joined
from midstream.log.entries import DATA, FILE, RESET, SOURCE, STATUS, TOOL_RESULT, require_json

_OTHERS: Final = (SOURCE, FILE, DATA, TOOL_RESULT, STATUS, RESET)
_REASONS: Final = get_args(FinishReason)
CALL_IDS: Final = ("tool_call_id", "call_id", "id")
"""Names under which a tool's result may hold the id of its call."""
_FIELDS: Final = {
    "refusal": "text",
    "reasoning_signature": "signature",
    "redacted_reasoning": "data",
    "encrypted_reasoning": "content",
    "stop_sequence": "sequence",
}
"""The kinds of `data` that faces translate, and the field whose text they take from each."""


class UnfitItemError(Exception):
    """What an app yielded cannot become an entry; the message names the item and what is wrong with it."""


def checked(item: object) -> Delta:
    """Return what an app yielded as a delta; a string is a text.

    Raises:
        UnfitItemError: It is no delta, or one of its fields does not fit.
    """
    if isinstance(item, str):
        return Text(item)
    name = type(item).__name__
    if not isinstance(item, Delta):
        raise UnfitItemError(f"{name}, which is neither a string nor a delta")
    if isinstance(item, Other):
        name = f"Other({item.type!r})"
    for problem in _problems(item):
        raise UnfitItemError(f"{name}: {problem}")
    return Reasoning(joined(item.text)) if isinstance(item, Reasoning) else item


def _problems(item: Delta) -> Iterator[str]:
    match item:
        case Text(text) | Reasoning(text):
            yield from _not_text("text", text, halves=True)
        case ToolInput(call_id, name, fragment):
            yield from _not_texts(id=call_id, name=name, delta=fragment)
            yield from _empty(id=call_id, name=name)
        case ToolCall(call_id, name, arguments):
            yield from _not_texts(id=call_id, name=name, arguments=arguments)
            yield from _empty(id=call_id, name=name)
        case Usage():
            yield from _problems_of_usage(item)
        case Finish(reason):
            if reason not in _REASONS:
                yield f"`reason` is none of {', '.join(_REASONS)}"
        case Upstream(upstream_id, resumable, cursor):
            yield from _not_texts(id=upstream_id)
            if resumable or cursor is not None:
                yield "an app's generation cannot be read again: leave out `resumable` and `cursor`"
        case Other():
            yield from _problems_of_other(item)


def _problems_of_usage(usage: Usage) -> Iterator[str]:
    yield from _not_figures(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
    yield from _not_an_object("details", usage.details)
    yield from _not_figures(**{name: value for name, value in usage.details.items() if name.endswith("_tokens")})


def _problems_of_other(other: Other) -> Iterator[str]:
    if other.type not in _OTHERS:
        yield f"an app can write {', '.join(_OTHERS)}"
    yield from _not_an_object("data", other.data)
    if other.type == TOOL_RESULT:
        ids = {name: other.data.get(name) for name in CALL_IDS}
        yield from _not_texts(**{name: call_id for name, call_id in ids.items() if call_id is not None})
    if other.type == DATA:
        yield from _not_texts(kind=other.data.get("kind"))
        if field := _FIELDS.get(other.data["kind"]):
            yield from _not_text(field, other.data.get(field))


def _not_text(name: str, value: Any, *, halves: bool = False) -> Iterator[str]:
    """Yield what is wrong with a text; with `halves`, half of a character is allowed at its end."""
    if not isinstance(value, str):
        yield f"`{name}` is {_kind(value)}, not a string"
    elif not halves and joined(value) != value:
        yield f"`{name}` holds half of a character"


def _not_texts(**values: Any) -> Iterator[str]:
    for name, value in values.items():
        yield from _not_text(name, value)


def _empty(**values: str) -> Iterator[str]:
    for name, value in values.items():
        if not value:
            yield f"`{name}` is empty: clients tell calls apart by it, and answer by it"


def _not_figures(**values: Any) -> Iterator[str]:
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool):
            yield f"`{name}` is {_kind(value)}, not an int"
        elif not 0 <= value <= MOST_TOKENS:
            yield f"`{name}` is out of range"


def _not_an_object(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"`{name}` is {_kind(value)}, not a dict"
        return
    try:
        require_json(value)
    except TypeError as error:
        yield f"`{name}` is no JSON: {error}"


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
