"""How a generation ends, as a table: every reason to stop, every state of the upstream call, every failure (I3)."""

import asyncio
from itertools import product

import pytest

from midstream.attempts.conclusion import Call, Conclusion, Leave, Release, Stop, conclude
from midstream.lifecycle.verdict import Seal
from midstream.log.errors import LogFull, LogUnavailable, StaleEpoch, StreamAbsent, StreamSealed
from midstream_worker.sources.deltas import SourceError

STALE = StaleEpoch(2)
SEALED = StreamSealed("completed", 1, "me")
ABSENT = StreamAbsent("s_1")
BROKEN = LogUnavailable("no answer")
INTERRUPTED = "interrupted worker_lost"

BY_STOP: dict[tuple[Stop, Call], Conclusion | str] = {
    **{(Stop.CANCELLED, call): "cancelled" for call in Call},
    **{(Stop.LOST, call): Leave() for call in Call},
    **{(Stop.BROKEN, call): Leave(BROKEN) for call in Call},
    **{(Stop.FULL, call): "failed log_full" for call in Call},
    (Stop.DRAINED, Call.NOT_MADE): Release(),
    (Stop.DRAINED, Call.RESUMABLE): Release(),
    (Stop.DRAINED, Call.NOT_RESUMABLE): "as the source ended",
}

BY_FAILURE: dict[str, tuple[BaseException | None, Conclusion | str]] = {
    "the source has ended": (None, "completed"),
    "stopped, or still at it": (asyncio.CancelledError(), INTERRUPTED),
    "claimed by another attempt": (STALE, Leave(STALE)),
    "sealed by somebody else": (SEALED, Leave(SEALED)),
    "deleted": (ABSENT, Leave(ABSENT)),
    "the server stays full": (LogFull("no memory"), "failed log_full"),
    "the policy forbids another call": (SourceError("worker_lost", "lost"), INTERRUPTED),
    "nobody looked after it for too long": (SourceError("outdated", "old"), "interrupted outdated"),
    "the provider failed": (SourceError("provider_overloaded", "busy", "safe"), "failed provider_overloaded"),
    "it took too long": (TimeoutError(), "failed generation_timeout"),
    "a fault of our own": (ValueError("x"), "failed internal"),
}


def in_words(conclusion: Conclusion) -> Conclusion | str:
    if isinstance(conclusion, Seal):
        assert bool(conclusion.message) == bool(conclusion.code)
        return f"{conclusion.outcome} {conclusion.code}".rstrip()
    return conclusion


def test_every_stop_has_a_row() -> None:
    assert set(BY_STOP) == set(product(Stop, Call))


@pytest.mark.parametrize(("stop", "call"), BY_STOP, ids=lambda it: it.name)
def test_what_stopped_it_comes_first(stop: Stop, call: Call) -> None:
    for failure, as_it_ended in [*BY_FAILURE.values(), (BROKEN, "failed internal")]:
        raised = BROKEN if stop is Stop.BROKEN else failure
        expected = BY_STOP[stop, call]
        ending = in_words(conclude(stop, call, raised, generation_timeout_s=9))
        assert ending == (as_it_ended if expected == "as the source ended" else expected)


@pytest.mark.parametrize(("failure", "expected"), BY_FAILURE.values(), ids=BY_FAILURE)
@pytest.mark.parametrize("call", Call, ids=lambda call: call.name)
def test_a_generation_that_nothing_stopped_ends_as_its_source(
    call: Call, failure: BaseException | None, expected: Conclusion | str
) -> None:
    assert in_words(conclude(None, call, failure, generation_timeout_s=9)) == expected


def test_a_message_names_the_limit() -> None:
    ending = conclude(None, Call.NOT_RESUMABLE, TimeoutError(), generation_timeout_s=90.0)
    assert isinstance(ending, Seal)
    assert "90 s" in ending.message
