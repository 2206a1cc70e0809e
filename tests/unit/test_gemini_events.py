"""The events of a Gemini interaction in an order, or with a lack, that the SDK's types do not exclude."""

from typing import Any

import openai
import pytest

from midstream.attempts.delta import Delta, Finish, Text, ToolCall, ToolInput
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.gemini_events import InteractionReader
from midstream_worker.sources.provider_json import Budget

DONE = {"event_type": "interaction.completed", "interaction": {"status": "requires_action"}}


def call(index: int, call_id: str) -> dict[str, Any]:
    step = {"type": "function_call", "id": call_id, "name": "f", "arguments": {}}
    return {"event_type": "step.start", "index": index, "step": step}


def words(index: int, arguments: str) -> dict[str, Any]:
    delta = {"type": "arguments_delta", "arguments": arguments}
    return {"event_type": "step.delta", "index": index, "delta": delta}


def answer(index: int, text: str) -> dict[str, Any]:
    return {"event_type": "step.delta", "index": index, "delta": {"type": "text", "text": text}}


def stop(index: int) -> dict[str, Any]:
    return {"event_type": "step.stop", "index": index}


def read(*events: dict[str, Any]) -> list[Delta]:
    reader = InteractionReader(Failures(openai, "gemini", []), Budget(10_000))
    return [delta for event in (*events, DONE) for delta in reader.read(event)]


def calls(deltas: list[Delta]) -> dict[str, str]:
    """Return the arguments of each call, which its fragments add up to."""
    whole = {each.id: each.arguments for each in deltas if isinstance(each, ToolCall)}
    for call_id, arguments in whole.items():
        assert "".join(each.delta for each in deltas if isinstance(each, ToolInput) and each.id == call_id) == arguments
    assert deltas[-1] == Finish("tool_calls")
    return whole


@pytest.mark.parametrize(
    "events",
    [
        (call(0, "a"), words(0, "[1"), call(1, "b"), words(1, "[2"), words(0, "]"), words(1, "]"), stop(1), stop(0)),
        (call(0, "a"), words(0, "[1]"), call(1, "b"), words(1, "[2]")),
        (call(0, "a"), words(0, "[1]"), call(0, "b"), words(0, "[2]"), stop(0), stop(0)),
    ],
    ids=["overlapping", "never stopped", "begun over another one"],
)
def test_each_call_that_has_begun_is_made_once(events: tuple[dict[str, Any], ...]) -> None:
    assert calls(read(*events)) == {"a": "[1]", "b": "[2]"}


def test_half_a_character_stays_with_its_call() -> None:
    deltas = read(call(0, "a"), words(0, "\ud83d"), stop(0), call(1, "b"), words(1, "[2]"), stop(1))
    assert calls(deltas) == {"a": "\ufffd", "b": "[2]"}


def test_the_end_of_a_text_that_was_never_stopped_is_not_lost() -> None:
    assert [each.text for each in read(answer(0, "a\ud83d")) if isinstance(each, Text)] == ["a", "\ufffd"]
