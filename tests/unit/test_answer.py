"""What a stream has answered so far, folded from its entries."""

from midstream.log.answer import Answer
from midstream.log.entries import (
    COMPLETED,
    DATA,
    END,
    REASONING,
    RESET,
    SOURCE,
    START,
    STATUS,
    TEXT,
    TOOL_CALL,
    Entry,
    Json,
    Stored,
    encode,
)

CALL: Json = {"id": "call_1", "name": "weather", "arguments": '{"city":"Bern"}'}
LINK: Json = {"url": "https://example.org"}
ENDED: Json = {"outcome": COMPLETED, "finish_reason": "stop", "error": None, "usage": None, "timings": {}}

CONTENT = [
    Entry(REASONING, {"text": "Let me "}),
    Entry(REASONING, {"text": "see."}),
    Entry(TEXT, {"text": "Hel"}),
    Entry(SOURCE, LINK),
    Entry(TEXT, {"text": "lo"}),
    Entry(TOOL_CALL, CALL),
    Entry(DATA, {"kind": "refusal", "text": "No."}),
    Entry(DATA, {"kind": "other", "text": "not said to anybody"}),
]


def answer_of(*entries: Entry) -> Answer:
    answer = Answer()
    for offset, entry in enumerate(entries, 1):
        answer.add(Stored(offset, 1, encode(entry)))
    return answer


def test_each_type_goes_to_its_field() -> None:
    answer = answer_of(Entry(START, {"epoch": 1}), *CONTENT, Entry(END, ENDED))
    assert (answer.text, answer.reasoning, answer.refusal) == ("Hello", "Let me see.", "No.")
    assert (answer.tool_calls, answer.sources, answer.end) == ([CALL], [LINK], ENDED)


def test_a_reset_empties_the_answer() -> None:
    reset = Entry(RESET, {"reason": "restarting"})
    assert answer_of(*CONTENT, reset) == Answer()
    assert answer_of(*CONTENT, reset, *CONTENT) == answer_of(*CONTENT)


def test_an_attempt_that_continues_keeps_what_there_is() -> None:
    status = Entry(STATUS, {"state": "continuing", "reason": "worker_lost", "paid": True})
    assert answer_of(CONTENT[2], status, CONTENT[4]).text == "Hello"


def test_a_running_stream_has_no_end() -> None:
    assert answer_of(*CONTENT).end is None


def test_a_call_has_all_its_fields_even_if_the_log_lacks_them() -> None:
    """Entries/Calls."""
    answer = answer_of(Entry(TOOL_CALL, {"name": "weather", "arguments": {"city": "Bern"}}))
    assert answer.tool_calls == [CALL | {"id": ""}]
