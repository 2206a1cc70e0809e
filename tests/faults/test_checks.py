"""The checks themselves: each broken promise is seen, and a sound stream passes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from midstream.log.entries import Entry
from tests.faults.catalogue import FAMILIES
from tests.faults.checks import check
from tests.faults.reader import Reader
from tests.faults.trial import Trial
from tests.sse import Event

END: dict[str, Any] = {"outcome": "completed", "finish_reason": "stop", "error": None, "usage": None, "timings": {}}


def sound() -> Trial:
    case = FAMILIES["redis-connection-cut"].case(0, seed=1)
    text = case.script.text()
    parts: list[tuple[str, dict[str, Any]]] = [
        ("start", {"epoch": 1}),
        ("text", {"text": text[:9]}),
        ("text", {"text": text[9:]}),
        ("end", END),
    ]
    trial = Trial(case, "id", died_ms=1, late_ms=900)
    trial.entries = [Entry(kind, data, number, 1) for number, (kind, data) in enumerate(parts, 1)]
    trial.state = {"status": "ended", "outcome": "completed", "tail": "4"}
    trial.calls = [{"number": 0}]
    reader = Reader(None, [], "id", flaps=None)  # type: ignore[arg-type]  # it has read already
    reader.events = [Event(entry.offset, entry.type, entry.data) for entry in trial.entries]
    trial.readers = [reader]
    return trial


def change(at: int, **changes: Any) -> Callable[[Trial], None]:
    def apply(trial: Trial) -> None:
        trial.entries[at] = replace(trial.entries[at], **changes)

    return apply


def sent(events: Callable[[list[Event]], list[Event]]) -> Callable[[Trial], None]:
    def apply(trial: Trial) -> None:
        trial.readers[0].events = events(trial.readers[0].events)

    return apply


BREAKS: dict[str, Callable[[Trial], None]] = {
    "I1 dense": change(2, offset=9),
    "I3 truthful end: end entries": change(1, type="end", data=END),
    "I3 truthful end: failed": change(3, data=END | {"outcome": "failed"}),
    "I3 truthful end: 2": lambda trial: setattr(trial, "late_ms", 2_000),
    "I3 truthful end: completed, but": lambda trial: trial.calls.clear(),
    "I4 paid once": lambda trial: trial.calls.append({"number": 1}),
    "I5 same bytes: completed with": change(2, data={"text": "cut sh"}),
    "I6 fenced": change(0, epoch=2),
    "client 0: I2 once": sent(lambda events: [*events[:2], *events[1:]]),
    "client 0: I5 same bytes: got": sent(lambda events: [events[0], Event(2, "text", {"text": "other"}), *events[2:]]),
    "client 0: I5 same bytes: stopped": sent(lambda events: events[:3]),
}


def test_a_sound_stream_passes() -> None:
    trial = sound()
    check(trial)
    assert trial.violations == []


def test_a_client_that_was_told_to_reset_may_have_had_another_history() -> None:
    trial = sound()
    events = trial.readers[0].events
    other = [events[0], Event(2, "text", {"text": "other"}), Event(0, "reset", {"reason": "rewritten"})]
    trial.readers[0].events = [*other, *events]
    check(trial)
    assert trial.violations == []


@pytest.mark.parametrize("broken", BREAKS)
def test_each_broken_promise_is_seen(broken: str) -> None:
    trial = sound()
    BREAKS[broken](trial)
    check(trial)
    assert any(sentence.startswith(broken) for sentence in trial.violations), trial.violations
