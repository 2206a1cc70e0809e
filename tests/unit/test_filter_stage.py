"""What a filter returns is checked, whatever it is (PROTOCOL: Filter/Function, Filter/Failed)."""

import asyncio
from typing import Any

import pytest

from midstream.attempts.delta import Delta, Other, SourceError, Text, ToolCall
from midstream.filters.filter import Filter, FilterContext, Hold, NamedFilter
from midstream.filters.filter_stage import FilterStage
from midstream.filters.redaction import redact

CALL = ToolCall("c", "n", "{}")


def taken(call: Filter, *deltas: Delta) -> list[Delta]:
    stage = FilterStage(NamedFilter("mine", call), FilterContext("s", "t", "m", {}), 4_096, 0.01)

    async def run() -> list[Delta]:
        return [out for delta in deltas for out in await stage.take(delta)]

    return asyncio.run(run())


def changes_in_place(delta: Any, _context: FilterContext) -> Any:
    delta.data["tags"] = {1}
    return delta


async def deaf(delta: Any, _context: FilterContext) -> Any:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return delta


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        (lambda *_: Hold("a" * 5_000), "filter_failed", "held back more than"),  # type: ignore[arg-type]
        (lambda *_: Hold(None), "filter_failed", "returned NoneType, which is neither"),  # type: ignore[arg-type]
        (lambda *_: Hold(Text(5)), "filter_failed", "returned Text: `text` is of type int"),  # type: ignore[arg-type]
        (lambda *_: Hold(CALL), "filter_failed", "held back a ToolCall, which is no text"),  # type: ignore[arg-type]
        (lambda *_: {"text": "a"}, "filter_failed", "returned dict, which is neither"),
        (deaf, "filter_timeout", "took longer than 0.01 s"),
    ],
)
def test_what_does_not_fit_fails(call: Filter, code: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        taken(call, Text("a"))
    assert caught.value.code == code


def test_a_delta_that_was_changed_in_place_is_checked() -> None:
    with pytest.raises(SourceError, match=r"returned Other\('data'\): `data` is no JSON"):
        taken(changes_in_place, Other("data", {"kind": "k"}))


def test_redaction_joins_the_whole_text_once() -> None:
    """Each join copies the answer so far, so that one for each delta would cost its square."""
    joins = []

    class Counting(FilterContext):
        @property
        def text(self) -> str:
            joins.append(len(self._pieces))
            return super().text

    stage = FilterStage(NamedFilter("redaction", redact({"a": "x+y"})), Counting("s", "t", "m", {}), 4_096, 1.0)

    async def run() -> None:
        for _ in range(20):
            await stage.take(Text("some text "))

    asyncio.run(run())
    assert joins == [0]
