"""What a stream adds to its conversation: Threads/Messages."""

from typing import Any

from midstream.log.entries import Entry, Stored, encode
from midstream.requests.conversation import TITLE_CHARS, new_messages, title_of
from midstream.requests.model_messages import ModelMessages

USER = {"role": "user", "content": "hi"}
MODEL = {"role": "assistant", "content": "ho"}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "7"}


def folded(*entries: Entry) -> list[dict[str, Any]]:
    """Return the messages of a log."""
    model = ModelMessages()
    for offset, entry in enumerate(entries, 1):
        model.add(Stored(offset, 1, encode(entry)))
    assert model.tail == len(entries)
    return model.messages()


def call(call_id: str) -> Entry:
    return Entry("tool_call", {"id": call_id, "name": "f", "arguments": "{}"})


def as_call(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_what_follows_the_models_last_message_is_new() -> None:
    """Threads/Messages."""
    assert new_messages([{"role": "system", "content": "be kind"}, USER]) == [USER]
    assert new_messages([USER, MODEL, RESULT, USER]) == [RESULT, USER]
    assert new_messages([USER, MODEL]) == []


def test_a_title_is_the_users_last_words() -> None:
    """Threads/List."""
    assert title_of([USER | {"content": " Why  is\nit so? "}, MODEL, RESULT]) == "Why is it so?"
    parts = [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "And this?"}]
    assert title_of([USER, {"role": "user", "content": parts}]) == "And this?"
    long = title_of([{"role": "user", "content": "word " * 1_000}])
    assert long.endswith("word…")
    assert len(long) <= TITLE_CHARS
    assert title_of([MODEL]) == ""


def test_results_stand_after_the_message_with_their_calls() -> None:
    """Threads/Messages."""
    two = folded(
        Entry("start", {"epoch": 1, "model": "m"}),
        Entry("reasoning", {"text": "hm"}),
        Entry("text", {"text": "I look"}),
        call("a"),
        call("b"),
        Entry("tool_result", {"id": "a", "output": {"n": 1}}),
        Entry("text", {"text": "One."}),
        Entry("tool_result", {"tool_call_id": "b", "error": "gone"}),
        Entry("tool_result", {"id": "nobody's", "output": 1}),
        Entry("end", {"outcome": "completed"}),
    )
    assert two == [
        {"role": "assistant", "content": "I look", "reasoning": "hm", "tool_calls": [as_call("a"), as_call("b")]}
        | {"offset": 5},
        {"role": "tool", "tool_call_id": "a", "content": '{"n":1}', "offset": 6},
        {"role": "tool", "tool_call_id": "b", "content": "Error: gone", "offset": 8},
        {"role": "assistant", "content": "One.", "offset": 7},
    ]


def test_what_came_before_a_reset_is_not_shown() -> None:
    """Threads/Messages."""
    again = folded(Entry("text", {"text": "a"}), Entry("reset", {"reason": "restarting"}), Entry("text", {"text": "b"}))
    assert again == [{"role": "assistant", "content": "b", "offset": 3}]
    assert folded(Entry("data", {"kind": "refusal", "text": "no"})) == [
        {"role": "assistant", "content": None, "refusal": "no", "offset": 1}
    ]
