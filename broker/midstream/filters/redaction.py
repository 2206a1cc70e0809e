"""The filter that ships with midstream: it replaces what regular expressions match (PROTOCOL: Filter/Redaction).

The library is `regex` and not `re` for two things: it tells where a match could begin whose rest has not come yet, so
that nothing else is held back, and its searches have a time-out, which bounds an expression that explodes.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import regex

from midstream.attempts.delta import Delta, Other, Reasoning, Text, ToolCall, ToolInput
from midstream.filters.filter import Filter, FilterContext, Hold, Run, string_of, with_string

BEFORE_CHARS: Final = 256
"""How much an expression sees of what is before the part that is not decided yet."""
SEARCH_S: Final = 0.1
"""Longest search of one expression; it blocks the event loop."""
_WHOLE_TEXT_FLAGS: Final = regex.FULLCASE | regex.REVERSE | regex.BESTMATCH | regex.ENHANCEMATCH
_WHOLE_TEXT_PARTS: Final = regex.compile(r"\\K|\(\?(?:R|0)\)|\(\?\w*f\w*(?:-\w+)?:")
"""With these, what `regex` finds in a part of a text is not what it finds in the whole one: a secret could pass."""


class _Expression(NamedTuple):
    name: str
    whole: "regex.Pattern[str]"
    begun: "regex.Pattern[str]"
    """It never matches; where the text ends within an attempt at a match, it matches in part."""


class _Match(NamedTuple):
    start: int
    end: int
    name: str


def redact(patterns: Mapping[str, str]) -> Filter:
    """Return a filter that puts `[name]` in the place of what the expression of that name matches.

    Args:
        patterns: Expressions of the library `regex` by their names.

    Raises:
        ValueError: One is no expression.
    """
    expressions = [_expression(name, pattern) for name, pattern in patterns.items()]

    def redaction(delta: Delta, context: FilterContext) -> Delta | list[Run | Hold] | None:
        match delta:
            case ToolInput():
                return None  # a fragment of JSON may hold a secret in escapes; the call follows with all its arguments
            case ToolCall(call_id, name, arguments):
                return ToolCall(call_id, name, _without_in_json(expressions, arguments))
            case Other(kind, data):
                return Other(kind, _without_in(expressions, data))
            case Text() | Reasoning():
                return _of_run(expressions, delta, context)
        return delta

    return redaction


def _expression(name: str, pattern: str) -> _Expression:
    try:
        expression = _Expression(name, regex.compile(pattern), regex.compile(rf"(?:{pattern})(?!)"))
    except regex.error as error:
        raise ValueError(f"{name}: {error}") from None
    if expression.whole.flags & _WHOLE_TEXT_FLAGS or _WHOLE_TEXT_PARTS.search(pattern):
        raise ValueError(f"{name}: no \\K, (?R), (?f), (?V1), (?b), (?e) or (?r), which find less in pieces of a text")
    return expression


def _of_run(expressions: list[_Expression], delta: Run, context: FilterContext) -> list[Run | Hold]:
    """Return what is decided of a text, redacted, and hold back the rest."""
    kind = type(delta).__name__
    before = context.memory.get(kind)
    if before is None:  # the whole text is joined for it, which is too much for each delta
        before = context.text[-BEFORE_CHARS:] if kind == "Text" else ""
    text, start = before + string_of(delta), len(before)
    matches = _matches(expressions, text, start)
    decided = len(text) if context.is_last else _decided(expressions, text, start, matches)
    context.memory[kind] = text[max(0, decided - BEFORE_CHARS) : decided]
    gone = [match for match in matches if match.end <= decided]
    return [with_string(delta, _redacted(text[:decided], start, gone)), Hold(with_string(delta, text[decided:]))]


def _decided(expressions: list[_Expression], text: str, start: int, matches: list[_Match]) -> int:
    """Return where the part of a text ends that holds no beginning of a match, however the text goes on."""
    at = len(text)
    for each in expressions:
        begun = each.begun.search(text, start, partial=True, timeout=SEARCH_S)
        if begun is not None:
            at = min(at, begun.start())
    at = min([at, *(match.start for match in matches if match.end == len(text))])  # it may go on
    while crossing := [match.start for match in matches if match.start < at < match.end]:
        at = min(crossing)
    return at


def _matches(expressions: list[_Expression], text: str, start: int = 0) -> list[_Match]:
    """Return all matches in their order; empty ones are none."""
    return sorted(
        _Match(match.start(), match.end(), each.name)
        for each in expressions
        for match in each.whole.finditer(text, start, timeout=SEARCH_S)
        if match.end() > match.start()
    )


def _redacted(text: str, start: int, matches: list[_Match]) -> str:
    """Return a text after `start` with names in the place of matches; one that overlaps another goes with that."""
    parts: list[str] = []
    for match in matches:
        if match.start >= start:
            parts += (text[start : match.start], f"[{match.name}]")
        start = max(start, match.end)
    return "".join([*parts, text[start:]])


def _without(expressions: list[_Expression], text: str) -> str:
    return _redacted(text, 0, _matches(expressions, text))


def _without_in(expressions: list[_Expression], value: Any) -> Any:
    match value:
        case str():
            return _without(expressions, value)
        case dict():
            return {_without(expressions, key): _without_in(expressions, each) for key, each in value.items()}
        case list() | tuple():
            return [_without_in(expressions, each) for each in value]
        case int() | float() if not isinstance(value, bool):
            redacted = _without(expressions, written := str(value))
            return value if redacted == written else redacted
    return value


def _without_in_json(expressions: list[_Expression], text: str) -> str:
    try:
        value = json.loads(text)  # it reads what orjson refuses and a client may not: NaN, halves of characters
    except (ValueError, RecursionError):
        return _without(expressions, text)
    redacted = _without_in(expressions, value)
    return text if redacted == value else json.dumps(redacted, separators=(",", ":"))
