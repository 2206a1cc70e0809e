"""How a conversation is trimmed: Threads/Continue."""

import re
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.requests import continuation
from midstream.requests.continuation import Budget, TrimError, chars_of, continued

Messages = list[dict[str, Any]]
SYSTEM = {"role": "system", "content": "be kind"}
NEW = {"role": "user", "content": "and now?"}


def calling(*ids: str, content: str = "") -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "7"}


@st.composite
def histories(draw: st.DrawFn) -> Messages:
    """Draw turns: a message of the user's, and some of the model's, with calls of which some have results."""
    history: Messages = []
    number = 0
    for _ in range(draw(st.integers(0, 6))):
        history.append({"role": "user", "content": draw(st.text(max_size=20))})
        for _ in range(draw(st.integers(0, 2))):
            ids = [f"c{number + each}" for each in range(draw(st.integers(0, 3)))]
            number += len(ids)
            content = draw(st.text(max_size=20))
            history.append(calling(*ids, content=content) if ids else {"role": "assistant", "content": content})
            history += [result(each) for each in ids if draw(st.booleans())]
    return history[draw(st.integers(0, 3)) :]


def calls_and_results(messages: Messages) -> tuple[list[str], list[str]]:
    calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    return calls, [message["tool_call_id"] for message in messages if message["role"] == "tool"]


def tokens_of(text: str) -> int:
    """Count something else than characters: words and signs."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def tokens_in(messages: Messages) -> int:
    return sum(tokens_of(orjson.dumps(message).decode()) for message in messages)


@given(
    history=histories(),
    most=st.none() | st.integers(1, 20),
    chars=st.integers(1, 1_500),
    tokens=st.none() | st.integers(1, 500),
    has_system=st.booleans(),
)
def test_a_budget_is_kept_and_no_call_loses_its_result(
    history: Messages, most: int | None, chars: int, tokens: int | None, has_system: bool
) -> None:
    """Threads/Continue, Threads/Tokens: messages, characters and tokens, each alone and together."""
    system, budget = [SYSTEM] * has_system, Budget(most, chars, tokens, tokens_of)
    try:
        sent = continued(system, history, [NEW], budget)
    except TrimError:
        least = [*system, NEW]
        assert not budget.permits(len(least), chars_of(least), tokens_in(least))
        return
    assert len(sent) <= (most or len(sent))
    assert chars_of(sent) <= chars
    assert tokens is None or tokens_in(sent) <= tokens
    assert sent[: len(system)] == system
    assert sent[-1] == NEW
    assert sent[len(system)]["role"] == "user"
    calls, results = calls_and_results(sent)
    assert sorted(calls) == sorted(results)
    contents = [(each["role"], each["content"]) for each in sent[len(system) : -1]]
    everything = [(each["role"], each["content"]) for each in history]
    positions = iter(everything)
    assert all(each in positions for each in contents), "in their order"
    whole = continued(system, history, [NEW], Budget(None, 10**9))
    assert sent[len(system) :] == whole[len(whole) - len(sent) + len(system) :], "the end of what could be sent"


def test_results_that_the_start_brings_stay_with_the_calls_that_they_answer() -> None:
    """Threads/Continue."""
    old = [{"role": "user", "content": "x" * 500}, {"role": "user", "content": "add"}]
    new = [result("a"), NEW]
    whole = continued([], [*old, calling("a", "b")], new, Budget(None, 300))
    assert whole == [{"role": "user", "content": "add"}, calling("a"), *new]
    with pytest.raises(TrimError):
        continued([], [*old, calling("a", "b")], new, Budget(2, 10_000))


@pytest.mark.parametrize("calls", [None, [{"type": "function"}], "none"])
def test_what_clients_write_for_calls_is_left_to_the_provider(calls: object) -> None:
    """Threads/Continue: clients also write `"tool_calls": null`."""
    odd = {"role": "assistant", "content": "hi", "tool_calls": calls}
    old = {"role": "user", "content": "hello", "tool_calls": calls}
    assert continued([], [old], [odd, NEW], Budget(None, 1_000)) == [old, odd, NEW]


def test_the_work_grows_with_the_history_and_not_with_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads/Continue: a long thread of one user's does not hold up the others of the process."""
    dumped = 0

    def dumps(message: Any) -> bytes:
        nonlocal dumped
        dumped += 1
        return orjson.dumps(message)

    monkeypatch.setattr(continuation, "orjson", SimpleNamespace(dumps=dumps))
    history = [{"role": "user", "content": "x"}] * 500
    assert continued([], history, [NEW], Budget(None, 10**9)) == [*history, NEW]
    assert dumped < 3 * len(history)


@pytest.mark.parametrize("call_id", [{"a": 1}, ["c1"], None, 7])
def test_a_result_whose_id_is_no_text_answers_no_call(call_id: object) -> None:
    """Threads/Continue."""
    odd = {"role": "tool", "tool_call_id": call_id, "content": "7"}
    user = {"role": "user", "content": "x"}
    roomy = Budget(None, 10_000)
    assert continued([], [user, calling("c1"), odd], [NEW], roomy) == [user, NEW]
    assert continued([], [user], [odd, NEW], roomy) == [user, odd, NEW]
