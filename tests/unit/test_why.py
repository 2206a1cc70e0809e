"""The sentence that says why a stream has ended or what it waits for (PROTOCOL: Operate/Why)."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midstream.log.entries import Entry, Stored, Timed, encode, text
from midstream.log.past import PastAttempt
from midstream.log.state import State
from midstream.operate.course import Course
from midstream.operate.why import REASONS, Candidate, Evidence, why
from midstream.settings import Settings

PROTOCOL = (Path(__file__).parents[2] / "broker/PROTOCOL.md").read_text()
NOW = 1_000_000
WORKER = "web-1:42:beef"
OWNER = f"{WORKER}.0123456789abcdef"
ALIVE = Candidate(WORKER, draining=False, slots=4, free=2)
OTHER = Candidate("web-2:7:cafe", draining=False, slots=4, free=4)
FULL = replace(ALIVE, free=0)
SETTINGS = Settings()
QUEUED = State(model="demo/x", created_ms=NOW - 2_000, queued_ms=NOW - 2_000)
RUNNING = State(
    status="running",
    model="demo/x",
    epoch=1,
    owner=OWNER,
    tail=1,
    created_ms=NOW - 9_000,
    queued_ms=NOW - 9_000,
    started_ms=NOW - 8_000,
    lease_until_ms=NOW + 7_000,
    lease_ms=10_000,
)
CALLED = replace(RUNNING, intent=1, paid=1)
ENDED = replace(CALLED, status="ended", ended_ms=NOW - 1_000, lease_until_ms=0, tail=12)
START = Entry("start", {"epoch": 1, "model": "demo/x"})
RETRYING = {"state": "retrying", "reason": "provider_rate_limited", "paid": False, "delay_ms": 4_000}


def course(*entries: tuple[Entry, int]) -> Course:
    """Return the course of entries with the times of their appends before now, in ms."""
    made = Course()
    made.add(Timed(Stored(offset, 1, encode(entry)), NOW - ago_ms) for offset, (entry, ago_ms) in enumerate(entries, 1))
    return made


def sentence(state: State, made: Course | None = None, workers: Any = (ALIVE,), **more: Any) -> str:
    return why(Evidence(state=state, now_ms=NOW, course=made or Course(), workers=workers, settings=SETTINGS, **more))


def ended(outcome: str, code: str = "", message: str = "", **changes: Any) -> str:
    error = {"code": code, "message": message} if code else None
    end = Entry("end", {"outcome": outcome, "error": error})
    return sentence(replace(ENDED, outcome=outcome, **changes), course((START, 8_000), (end, 1_000)))


LOST = PastAttempt(1, "lost", NOW - 2_000, OWNER)
HANDED_OVER = PastAttempt(1, "handed_over", NOW - 2_000, OWNER)
SECOND = replace(QUEUED, epoch=1)


@pytest.mark.parametrize(
    ("state", "facts", "expected"),
    [
        (
            QUEUED,
            {"workers": ()},
            (
                "It has been queued for 2 s, and no worker is alive: if none starts, it ends as failed (queue_timeout) "
                "in 1 min 58 s."
            ),
        ),
        (
            QUEUED,
            {"workers": (replace(ALIVE, draining=True),), "place": 0},
            (
                "It has been queued for 2 s, and the only 1 worker that is alive will take nothing more (draining): it "
                "ends as failed (queue_timeout) in 1 min 58 s."
            ),
        ),
        (QUEUED, {}, "It has been queued for 2 s, and its slip is lost: a reaper writes a new one within 5 s."),
        (
            QUEUED,
            {"workers": (FULL, replace(OTHER, free=0)), "place": 3},
            (
                "It has been queued for 2 s, and all 8 slots of 2 workers are taken, with 3 streams before it on the "
                "queue."
            ),
        ),
        (
            QUEUED,
            {"place": 0},
            "It has been queued for 2 s, with no stream before it, and a worker with room is about to take it.",
        ),
        (
            replace(QUEUED, queued_ms=NOW - 125_000),
            {},
            (
                "It has been queued for 2 min 5 s, longer than MIDSTREAM_QUEUE_TIMEOUT_S allows, and a reaper is about "
                "to end it (queue_timeout)."
            ),
        ),
        (
            SECOND,
            {"past": (LOST,), "place": 0, "workers": (OTHER,)},
            (
                "It has been queued for 2 s after attempt 1, whose worker web-1:42 was lost, with no stream before it, "
                "and a worker with room is about to take it."
            ),
        ),
        (
            SECOND,
            {"past": (HANDED_OVER,), "place": 0, "workers": ()},
            (
                "It has been queued for 2 s after attempt 1, whose worker web-1:42 has stopped and handed it over, and "
                "no worker is alive: if none starts, it ends as failed (queue_timeout) in 1 min 58 s."
            ),
        ),
        (
            SECOND,
            {"place": 0},
            (
                "It has been queued for 2 s after attempt 1, with no stream before it, and a worker with room is about "
                "to take it."
            ),
        ),
    ],
)
def test_what_a_queued_stream_waits_for(state: State, facts: dict[str, Any], expected: str) -> None:
    """Operate/Why."""
    assert sentence(state, **facts) == expected


STREAMED = (START, 8_000), (text("Once"), 6_500)
IDLE = "after 3 min of silence, or the request's own limit, it ends as failed (idle_timeout)"


@pytest.mark.parametrize(
    ("state", "made", "workers", "expected"),
    [
        (
            RUNNING,
            course((START, 8_000)),
            (ALIVE,),
            "Its worker web-1:42 has claimed it 8 s ago and has not called the model yet.",
        ),
        (
            CALLED,
            course((START, 8_000)),
            (ALIVE,),
            f"Its worker web-1:42 waits for the first word of demo/x, 8 s so far; {IDLE}.",
        ),
        (
            replace(CALLED, tail=2, tail_ms=2_500),
            course(*STREAMED),
            (ALIVE,),
            f"demo/x has been silent for 6.5 s after 2 entries, and its worker web-1:42 waits; {IDLE}.",
        ),
        (
            replace(CALLED, tail=2_000, tail_ms=8_900),
            course((START, 8_000), (text("Once"), 100)),
            (ALIVE,),
            "Its worker web-1:42 is writing it: 2,000 entries so far, the last one 100 ms ago.",
        ),
        (
            CALLED,
            course((START, 8_000), (Entry("status", RETRYING), 3_000)),
            (ALIVE,),
            "Its worker web-1:42 is retrying: after 429 (provider_rate_limited) it makes call 2 in 1 s.",
        ),
        (
            CALLED,
            course((START, 8_000), (Entry("status", RETRYING), 7_500), (Entry("status", RETRYING), 6_000)),
            (ALIVE,),
            (
                "Its worker web-1:42 is retrying: after 429 (provider_rate_limited) it made call 3 2 s ago, and no "
                "word has come of it yet."
            ),
        ),
        (
            replace(CALLED, cancel_ms=NOW - 300),
            course(*STREAMED),
            (ALIVE,),
            "A cancel was asked for 300 ms ago, and its worker web-1:42 is about to end it.",
        ),
        (
            CALLED,
            course(*STREAMED),
            (),
            (
                "Its worker web-1:42 is not among those alive; when the lease runs out in 7 s, a reaper ends it as "
                "interrupted, because its policy `interrupt` forbids another paid call."
            ),
        ),
        (
            replace(CALLED, lease_until_ms=NOW - 400),
            course(*STREAMED),
            (OTHER,),
            (
                "Its worker web-1:42 was lost and the lease ran out 400 ms ago; a reaper ends it as interrupted, "
                "because its policy `interrupt` forbids another paid call."
            ),
        ),
        (
            replace(RUNNING, lease_until_ms=NOW - 400),
            course((START, 8_000)),
            (ALIVE,),
            (
                "Its worker web-1:42 lives but has not renewed the lease, which ran out 400 ms ago; a reaper queues it "
                "again."
            ),
        ),
        (
            replace(CALLED, lease_until_ms=NOW - 400, cancel_ms=NOW - 900),
            course(*STREAMED),
            (),
            (
                "Its worker web-1:42 was lost and the lease ran out 400 ms ago; a reaper ends it as cancelled, as a "
                "client has asked."
            ),
        ),
        (
            replace(CALLED, lease_until_ms=NOW - 400, epoch=5),
            course(*STREAMED),
            (),
            (
                "Its worker web-1:42 was lost and the lease ran out 400 ms ago; a reaper ends it as interrupted, "
                "because all 5 attempts are used up."
            ),
        ),
        (
            replace(CALLED, owner="0123456789abcdef", lease_until_ms=NOW - 400, policy="continue"),
            course(*STREAMED),
            (),
            "Its worker of an unknown name was lost and the lease ran out 400 ms ago; a reaper queues it again.",
        ),
    ],
)
def test_what_a_running_stream_waits_for(state: State, made: Course, workers: Any, expected: str) -> None:
    """Operate/Why."""
    assert sentence(state, made, workers) == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (ended("completed"), "It completed in 8 s."),
        (ended("completed", epoch=3), "It completed in 8 s, on attempt 3."),
        (ended("cancelled"), "It was cancelled after 8 s and 12 entries."),
        (ended("cancelled", started_ms=0), "It was cancelled after 8 s on the queue."),
        (ended("failed"), "It failed after 8 s, and its end does not say why."),
        (
            ended("failed", "provider_auth", "Incorrect API key."),
            (
                "It failed after 8 s, because the provider refused the worker's key (401 or 403) (provider_auth): "
                '"Incorrect API key".'
            ),
        ),
        (
            ended("interrupted", "worker_lost", "the worker was lost; the answer so far is kept"),
            (
                "It was interrupted after 8 s, because worker web-1:42 was lost after 11 entries, and its policy "
                "`interrupt` forbids another paid call (worker_lost)."
            ),
        ),
        (
            ended("interrupted", "worker_lost", "the worker was lost", policy="reattach"),
            (
                "It was interrupted after 8 s, because worker web-1:42 was lost after 11 entries, and its provider's "
                "answer cannot be read on, and its policy `reattach` permits no second call (worker_lost)."
            ),
        ),
        (
            ended("interrupted", "worker_lost", "The worker was stopped; the answer so far is kept."),
            (
                "It was interrupted after 8 s, because worker web-1:42 has stopped after 11 entries, and its policy "
                "`interrupt` forbids another paid call (worker_lost)."
            ),
        ),
        (
            ended("interrupted", "attempts_exhausted", "5 attempts were made", epoch=5),
            (
                "It was interrupted after 8 s, on attempt 5, because each of its 5 attempts lost its worker, the last "
                "one web-1:42 (attempts_exhausted)."
            ),
        ),
        (
            ended("failed", "queue_timeout", "no worker took the generation in time", epoch=0, started_ms=0),
            "It failed after 8 s, because no worker took it within 8 s (queue_timeout).",
        ),
        (
            ended("interrupted", "sealed_by_operator", "It burned money."),
            'It was interrupted after 8 s, because an operator has ended it (sealed_by_operator): "It burned money".',
        ),
        (
            ended("interrupted", "of_a_newer_version", "It burned money."),
            "It was interrupted after 8 s (of_a_newer_version): It burned money.",
        ),
    ],
)
def test_why_a_stream_has_ended(made: str, expected: str) -> None:
    """Operate/Why."""
    assert made == expected


def test_every_code_of_a_failure_has_its_reason() -> None:
    """Operate/Why, Errors/Failures."""
    table = PROTOCOL.partition("### Errors/Failures")[2].partition("\n## ")[0]
    codes = {code for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)}
    assert codes >= {*REASONS, "worker_lost", "queue_timeout"}
    for code in codes:
        made = ended("failed", code, "message")
        assert "because " in made, f"{code} has no reason: {made}"
        assert made.endswith(".")
        assert "  " not in made
