"""What is read a second time goes on where the first reading was, however the provider divides it. Intent/Gemini."""

import pytest

from midstream_worker.sources.deltas import (
    Delta,
    Finish,
    Other,
    Reasoning,
    SourceError,
    Text,
    ToolCall,
    ToolInput,
    Usage,
)
from midstream_worker.sources.replay import Replay

SIGNED = Other("data", {"kind": "reasoning_signature", "signature": "s"})
CALL = ToolCall("c", "f", '{"a":1}')
END: list[Delta] = [Usage(1, 1), Finish("stop")]
WHOLE: list[Delta] = [Reasoning("Hm, so."), SIGNED, Text("One, two."), ToolInput("c", "f", '{"a":1}'), CALL, *END]
FINE: list[Delta] = [
    *(Reasoning(word) for word in "Hm, so."),
    SIGNED,
    *(Text(word) for word in "One, two."),
    *(ToolInput("c", "f", word) for word in '{"a":1}'),
    CALL,
    *END,
]


def finely(deltas: list[Delta]) -> list[Delta]:
    """Return deltas with one character in each, so that they can be compared however they were divided."""
    fine: list[Delta] = []
    for delta in deltas:
        match delta:
            case Text(words):
                fine += map(Text, words)
            case Reasoning(words):
                fine += map(Reasoning, words)
            case ToolInput(call_id, name, words):
                fine += [ToolInput(call_id, name, word) for word in words]
            case _:
                fine.append(delta)
    return fine


@pytest.mark.parametrize("divided", [WHOLE, FINE], ids=["coarse", "fine"])
def test_it_goes_on_at_every_position(divided: list[Delta]) -> None:
    for after in range(len(FINE) - len(END) + 1):
        text = "".join(delta.text for delta in FINE[:after] if isinstance(delta, Text))
        replay = Replay(after, text)
        assert finely(list(replay.read(divided))) == FINE[after:], f"after {after}"
        assert replay.position == len(FINE) - len(END)


@pytest.mark.parametrize("thought", ["", "Hm.", "Hm, so it is, and a lot more."])
def test_where_reasoning_has_another_length_the_text_decides(thought: str) -> None:
    replay = Replay(len("Hm, so.") + len("One, "), "One, ")
    assert finely(list(replay.read([Reasoning(thought), Text("One, "), Text("two."), *END]))) == [
        *(Text(word) for word in "two."),
        *END,
    ]


@pytest.mark.parametrize(
    "again",
    [
        [Text("Two, one."), *END],
        [Text("One"), *END],
        [Reasoning("Longer than it was."), ToolInput("c", "f", "{"), Text("One, two."), *END],
        [Text("One, "), CALL, *END],
    ],
    ids=["other text", "less text", "a call before the text", "a call in place of reasoning"],
)
def test_what_does_not_go_on_is_a_mismatch(again: list[Delta]) -> None:
    with pytest.raises(SourceError) as caught:
        list(Replay(len("Hm, so.") + len("One, "), "One, ").read(again))
    assert (caught.value.code, caught.value.retry) == ("reattach_mismatch", "never")
