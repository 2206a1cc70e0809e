"""Redaction finds what it finds in the whole text, however deltas divide it (PROTOCOL: Filter/Redaction)."""

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.attempts.delta import Delta, Finish, Other, SourceError, Text, ToolCall, ToolInput, Upstream
from midstream.filters.filter import FilterContext, NamedFilter
from midstream.filters.filter_stage import FilterStage
from midstream.filters.redaction import redact

PATTERNS = {
    "key": r"sk-[A-Za-z0-9]{8,}",
    "mail": r"[\w.]+@[\w.]+\w",
    "password": r"(?i)(?<=password: )\S+",
    "foo": "foo(?=bar)",
    "card": r"\b\d{4} ?\d{4}\b",
}
TEXT = (
    "is sk-abc123DEF456, password: hunter2x and PASSWORD: zz me.x@foo.com foobar fooba 1234 5678 12345 foo sk-abcdefgh"
)
REDACTED = "is [key], password: [password] and PASSWORD: [password] [mail] [foo]bar fooba [card] 12345 foo [key]"


def stage(patterns: dict[str, str], before: str = "", hold_bytes: int = 4_096) -> FilterStage:
    context = FilterContext("s", "t", "m", {})
    context.add(before)
    return FilterStage(NamedFilter("redaction", redact(patterns)), context, hold_bytes, 1.0)


def through(work: FilterStage, *deltas: Delta) -> list[Delta]:
    async def run() -> list[Delta]:
        return [out for delta in deltas for out in await work.take(delta)]

    return asyncio.run(run())


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


@settings(max_examples=60)
@given(st.sets(st.integers(1, len(TEXT) - 1)))
def test_a_secret_is_found_however_deltas_divide_it(cuts: set[int]) -> None:
    ends = [*sorted(cuts), len(TEXT)]
    pieces = [Text(TEXT[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    assert text_of(through(stage(PATTERNS), *pieces, Finish("stop"))) == REDACTED


def test_only_what_may_be_a_secret_is_held_back() -> None:
    work = stage({"key": PATTERNS["key"]})
    assert [text_of(through(work, Text(char))) for char in "is sk? "] == ["i", "", "s ", "", "", "sk?", " "]


def test_a_secret_that_an_earlier_attempt_began_is_found_by_what_is_before_it() -> None:
    """Filter/Attempts."""
    assert text_of(through(stage(PATTERNS, "the password: "), Text("hunter2 "), Finish("stop"))) == "[password] "


def test_calls_and_data_are_redacted_within_their_json() -> None:
    work = stage({"key": "sk-[a-z]{4,}", "card": r"\d{16}"})
    outs = through(
        work,
        ToolInput("c", "pay", '{"k": "sk-\\u0061'),
        ToolCall("c", "pay", '{"k": "sk-\\u0061bcd", "n": 4111111111111111, "ok": true}'),
        ToolCall("d", "pay", '{"ok": 1}'),
        Other("tool_result", {"id": "c", "output": ["sk-abcd", 5, None]}),
    )
    assert outs == [
        ToolCall("c", "pay", '{"k":"[key]","n":"[card]","ok":true}'),
        ToolCall("d", "pay", '{"ok": 1}'),
        Other("tool_result", {"id": "c", "output": ["[key]", 5, None]}),
    ]


@pytest.mark.parametrize("rest", ["NaN", '"\\ud800"', "123456789012345678901234567890"])
def test_a_secret_in_escapes_is_found_in_json_of_any_dialect(rest: str) -> None:
    call = ToolCall("c", "pay", '{"k": "sk-\\u0061bcd", "x": ' + rest + "}")
    assert through(stage({"key": "sk-[a-z]{4,}"}), call) == [ToolCall("c", "pay", '{"k":"[key]","x":' + rest + "}")]


def test_digits_of_a_number_of_any_size_are_found() -> None:
    call = ToolCall("c", "pay", '{"n": 41111111111111111111111}')
    assert through(stage({"card": r"\d{16}"}), call) == [ToolCall("c", "pay", '{"n":"[card]1111111"}')]


@pytest.mark.parametrize(
    ("pattern", "text", "words"),
    [("^(?:a|aa)+$", "a" * 60 + "b", "TimeoutError"), ("a.*b", "a" + "x" * 4_096, "more than MIDSTREAM_FILTER_HOLD")],
)
def test_an_expression_that_explodes_or_never_ends_fails(pattern: str, text: str, words: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(SourceError, match=words) as caught:
        through(stage({"x": pattern}), Text(text))
    assert caught.value.code == "filter_failed"
    assert time.monotonic() - began_s < 2


@pytest.mark.parametrize("pattern", ["(", r"pw: \K\w+", r"\((?:\w|(?R))*\)", "(?if)ß", "a(?if:ß)", "(?V1)a", "(?r)ab+"])
def test_what_is_no_expression_or_cannot_be_found_in_pieces_is_refused(pattern: str) -> None:
    """Filter/Start, Filter/Redaction."""
    with pytest.raises(ValueError, match="key: "):
        redact({"key": pattern})


def test_a_position_goes_on_only_from_where_nothing_is_held() -> None:
    """Filter/Attempts."""
    marks = [Upstream("r", resumable=True, cursor=number) for number in range(5)]
    work = stage({"key": "sk-[a-z]{4,}"})
    assert through(work, Text("a sk"), marks[0], Text("-"), marks[1]) == [Text("a ")]
    assert through(work, Text(" b s"), marks[2]) == [Text("sk-"), marks[1], Text(" b ")]
    assert through(work, Text("k-abcd"), marks[3]) == []
    assert through(work, Text(" c"), marks[4]) == [Text("[key] c"), marks[4]]
    assert through(work, Text("s"), marks[0], Text("ea"), marks[1]) == [Text("s"), marks[0], Text("ea"), marks[1]]
