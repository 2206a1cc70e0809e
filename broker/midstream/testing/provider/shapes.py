"""Checks a body against the SDKs' own descriptions of what a request may hold, as strictly as the originals do."""

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

Kind = Literal["unknown", "missing", "type", "value"]
Path = tuple[str | int, ...]
Fields = Mapping[str, Any]

# The SDK's types require these, and the original does without them.
WAIVED: Mapping[str, tuple[str, ...]] = {
    "ResponseOutputMessageParam": ("id", "status", "type"),
    "ResponseOutputTextParam": ("annotations",),
    "ResponseReasoningItemParam": ("id",),
    "ResponseInputImageParam": ("detail",),
    "FunctionToolParam": ("strict", "parameters"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a body does not fit, and why.

    Attributes:
        path: The names and indexes that lead to the place.
        kind: A field that does not exist, one that has to be there, a value of a wrong type, or one
            that is not among those allowed.
        actual: The value in the body.
        expected: The type that the place has to have (`str`, `list` …), or the allowed values.
    """

    path: Path
    kind: Kind
    actual: Any = None
    expected: tuple[Any, ...] = ()


@cache
def fields_of(described: Any) -> Fields:
    """Return the fields of a `TypedDict`: those that have to be there are still wrapped in `Required`."""
    hints = get_type_hints(described, include_extras=True)
    waived = WAIVED.get(described.__name__, ())
    # Postponed annotations hide from `__required_keys__` what says for itself whether it is required.
    return {
        name: NotRequired[_bare(hint)]
        if name in waived
        else Required[hint]
        if name in described.__required_keys__ and get_origin(hint) not in (Required, NotRequired)
        else hint
        for name, hint in hints.items()
    }


def fault(value: Any, hint: Any, path: Path = ()) -> Fault | None:
    """Return the first thing in a value that its type does not allow, if there is any."""
    origin: Any = get_origin(hint)
    if origin in (Required, NotRequired, Annotated):
        return fault(value, get_args(hint)[0], path)
    if hint in (Any, object):
        return None
    if is_typeddict(hint):
        return fault_of_fields(value, fields_of(hint), path)
    if origin is Literal:
        return None if value in get_args(hint) else Fault(path, "value", value, get_args(hint))
    if origin in (Union, types.UnionType):
        return _fault_of_union(value, get_args(hint), path)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _fault_of_mapping(value, get_args(hint)[1], path)
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return _fault_of_list(value, get_args(hint)[0], path)
    return None if _is_a(value, origin or hint) else Fault(path, "type", value, (origin or hint,))


def fault_of_fields(value: Any, fields: Fields, path: Path = ()) -> Fault | None:
    """Return the first thing in an object that its fields do not allow."""
    if not isinstance(value, dict):
        return Fault(path, "type", value, (dict,))
    for name in value:
        if name not in fields:
            return Fault((*path, name), "unknown")
    for name, hint in fields.items():
        if name in value:
            if inner := fault(value[name], hint, (*path, name)):
                return inner
        elif _is_required(hint):
            return Fault((*path, name), "missing")
    return None


def _is_required(hint: Any) -> bool:
    return get_origin(hint) is Required


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint


def _fault_of_list(value: Any, hint: Any, path: Path) -> Fault | None:
    if not isinstance(value, list):
        return Fault(path, "type", value, (list,))
    return next((inner for number, one in enumerate(value) if (inner := fault(one, hint, (*path, number)))), None)


def _fault_of_mapping(value: Any, hint: Any, path: Path) -> Fault | None:
    if not isinstance(value, dict):
        return Fault(path, "type", value, (dict,))
    return next((inner for name, one in value.items() if (inner := fault(one, hint, (*path, name)))), None)


def _fault_of_union(value: Any, hints: tuple[Any, ...], path: Path) -> Fault | None:
    """Return the fault by that member of a union that the value was most likely meant to be."""
    faults = []
    for hint in hints:
        inner = fault(value, hint, path)
        if inner is None:
            return None
        faults.append((_likeness(value, hint), len(inner.path), inner))
    if isinstance(value, dict) and (words := _types_of(hints)) and value.get("type", words[0]) not in words:
        return Fault((*path, "type"), "value", value["type"], words)
    if isinstance(value, (dict, list)) or any(inner.kind != "type" for *_, inner in faults):
        return max(faults, key=lambda judged: judged[:2])[2]
    return Fault(path, "type", value, tuple(expected for *_, inner in faults for expected in inner.expected))


def _likeness(value: Any, hint: Any) -> int:
    """Return how much an object looks like a member of a union: by the fields that tell members apart."""
    if isinstance(value, list):
        return int(get_origin(hint) is not None and get_origin(hint) is not Literal)
    if not isinstance(value, dict) or not is_typeddict(hint):
        return int(not is_typeddict(hint) and get_origin(hint) is Literal and isinstance(value, str))
    words_by_name = {name: set(words) for name, words in _discriminators(hint)}
    agreeing = sum(value.get(name) in words for name, words in words_by_name.items() if name in value)
    return (
        1 + 2 * agreeing - 4 * sum(value[name] not in words for name, words in words_by_name.items() if name in value)
    )


@cache
def _types_of(hints: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return every `type` that a member of a union can have."""
    described = [dict(_discriminators(hint)) for hint in hints if is_typeddict(hint)]
    return tuple(dict.fromkeys(word for words_by_name in described for word in words_by_name.get("type", ())))


@cache
def _discriminators(described: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple(_literals(fields_of(described)))


def _literals(fields: Fields) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for name in ("type", "role"):
        hint = _bare(fields.get(name))
        if get_origin(hint) is Literal:
            yield name, get_args(hint)


def _is_a(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in (dict, Mapping):
        return isinstance(value, dict)
    if kind in (list, Sequence, Iterable):
        return isinstance(value, list)
    return isinstance(kind, type) and isinstance(value, kind)
