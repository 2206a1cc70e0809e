"""Everything that can be known of one stream, for operators (PROTOCOL: Operate/Stream)."""

from typing import Any, Final

import orjson

from midstream.log.entries import Json
from midstream.log.owners import place_of, worker_of
from midstream.log.past import PastAttempt
from midstream.log.roll import ALIVE_MS, Signature
from midstream.log.state import State
from midstream.operate.course import Course
from midstream.operate.operator import Operator
from midstream.operate.why import Candidate, Evidence, why
from midstream.service import stopping
from midstream.service.listing import summary

FIRST: Final = 9_500
"""Entries that are read from the beginning of a log."""
LAST: Final = 500
"""Entries that are read from the end of a longer one."""

TRACE_ID: Final = slice(3, 35)
"""Where a `traceparent` has the trace's id."""


async def stream_report(operator: Operator, tenant: str, stream_id: str) -> Json:
    """Return what is known of a stream, and the sentence that says why it has ended or what it waits for.

    Raises:
        StreamAbsent: There is none that the operator reaches.
        LogUnavailable: Redis did not answer.
    """
    name = operator.name_of(tenant, stream_id)
    resources = operator.resources
    operations = resources.operations
    state = await stopping.present(resources, name)
    course = await _course(operator, name, state)
    state = await stopping.present(resources, name)  # as it is after its entries were read
    past = await resources.log.past(name)
    signatures = await operations.roll.present("worker")
    place = await resources.slips.place(name, state.epoch) if state.status == "queued" else None
    answers, brokers = await operations.census.ask(name)
    now_ms = await operations.roll.now_ms()
    facts = Evidence(
        state=state,
        now_ms=now_ms,
        course=course,
        past=past,
        workers=[_candidate(each) for each in signatures if now_ms - each.signed_ms <= ALIVE_MS],
        place=place,
        settings=operator.settings,
    )
    return {
        "tenant": tenant,
        **summary(stream_id, state),
        "why": why(facts),
        "on_worker_loss": state.policy,
        "metadata": orjson.loads(state.metadata),
        "lease": lease(facts),
        "attempts": attempts(facts),
        "timings": timings(facts),
        "finish_reason": course.end.get("finish_reason"),
        "error": course.end.get("error"),
        "usage": course.usage,
        "paid_calls": state.paid,
        "retries": course.retries,
        "upstream_id": state.upstream_id or None,
        "trace_id": state.trace[TRACE_ID] or None,
        "upstream_cursor": state.upstream_cursor if state.upstream_cursor >= 0 else None,
        "cancel_asked_ms": state.cancel_ms or None,
        "first": state.first,
        "log_bytes": state.stored_bytes or state.log_bytes,
        "entries_read": course.entries_read,
        "slips_before": place,
        "tails": {
            "number": sum(answer["number"] for answer in answers),
            "data": [{"broker": answer["broker"], **tail} for answer in answers for tail in answer["tails"]],
            "brokers_asked": brokers,
            "brokers_answered": len(answers),
        },
        "now_ms": facts.now_ms,
    }


async def _course(operator: Operator, name: str, state: State) -> Course:
    """Read a stream's entries; of a long one the first ones, and the last ones, which tell of its end."""
    course = await operator.resources.operations.folds.fold(Course, name, state, FIRST)
    last_read = state.first - 1 + course.entries_read
    if last_read < state.tail:
        _, page = await operator.resources.log.read_timed(name, max(last_read, state.tail - LAST), LAST)
        course.add(page)
    return course


def _candidate(signature: Signature) -> Candidate:
    own = signature.facts
    return Candidate(signature.name, own["draining"], own["slots"], own["free"])


def lease(facts: Evidence) -> Json | None:
    """Return who holds a stream, and since when the lease was renewed last; None: it is not running."""
    state = facts.state
    if state.status != "running":
        return None
    worker = worker_of(state.owner)
    return {
        "until_ms": state.lease_until_ms,
        "left_ms": state.lease_until_ms - facts.now_ms,
        "age_ms": max(0, facts.now_ms - (state.lease_until_ms - state.lease_ms)),
        "owner": _owner(state.owner),
        "is_alive": any(each.name == worker for each in facts.workers),
    }


def _owner(owner: str) -> Json | None:
    worker = worker_of(owner)
    if not worker:
        return None
    host, _, pid = place_of(worker).rpartition(":")
    return {"worker": worker, "host": host, "pid": int(pid) if pid.isdigit() else None}


def attempts(facts: Evidence) -> list[Json]:
    """Return each attempt, and what ended it; None where an older version has not noted it."""
    state = facts.state
    past = {each.epoch: each for each in facts.past}
    return [
        {
            "epoch": start.epoch,
            "offset": start.offset,
            "claimed_ms": start.written_ms,
            **_end_of(start.epoch, state, past.get(start.epoch)),
        }
        for start in facts.course.starts
    ]


def _end_of(epoch: int, state: State, past: PastAttempt | None) -> dict[str, Any]:
    if past is not None:
        return {"ended_by": past.how, "ended_ms": past.ended_ms, "owner": _owner(past.owner)}
    if epoch < state.epoch:
        return {"ended_by": None, "ended_ms": None, "owner": None}
    if state.ended:
        return {"ended_by": state.outcome, "ended_ms": state.ended_ms, "owner": _owner(state.owner)}
    return {"ended_by": None, "ended_ms": None, "owner": _owner(state.owner)}


def timings(facts: Evidence) -> Json:
    """Return how long each part of a stream's life took, in ms; None: it has not come to that."""
    state, course = facts.state, facts.course
    claimed_ms = next((start.written_ms for start in course.starts if start.written_ms), None) or state.started_ms
    last_ms = state.last_entry_ms
    return {
        "queued_ms": (claimed_ms or facts.now_ms) - state.created_ms,
        "first_delta_ms": None if course.first_word_ms is None else course.first_word_ms - state.created_ms,
        "longest_gap_ms": course.longest_gap_ms,
        "longest_gap_after": course.longest_gap_after,
        "silent_ms": facts.now_ms - last_ms if last_ms is not None and not state.ended else None,
        "total_ms": (state.ended_ms or facts.now_ms) - state.created_ms,
    }
