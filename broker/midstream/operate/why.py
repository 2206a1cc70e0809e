"""One sentence that says why a stream has ended, or what it waits for: a pure function of `Evidence`.

It tells people the cause and what happens next. Programs go by the fields beside it (PROTOCOL: Operate/Why).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from midstream.lifecycle.verdict import Requeue, Seal, judge
from midstream.log.entries import CANCELLED, COMPLETED, INTERRUPTED
from midstream.log.owners import place_of, worker_of
from midstream.log.past import LOST, PastAttempt
from midstream.log.state import EXTERNAL, State
from midstream.operate.amounts import number_of, span
from midstream.operate.course import Course, Retry
from midstream.settings import Settings

SILENT_MS: Final = 5_000
"""A source that has brought nothing for so long is called silent."""
MESSAGE_CHARS: Final = 300

REASONS: Final = {
    "provider_auth": "the provider refused the worker's key (401 or 403)",
    "provider_bad_request": "the provider refused the request (400, 404, 413 or 422)",
    "provider_quota": "the quota at the provider is used up (402)",
    "provider_rate_limited": "the provider answered 429, too many requests",
    "provider_overloaded": "the provider was overloaded (503 or 529)",
    "provider_error": "the provider failed (500 or the like)",
    "provider_unreachable": "the worker could not connect to the provider",
    "provider_timeout": "the provider did not answer in time",
    "provider_disconnected": "the provider's connection broke in the middle of the answer",
    "provider_incomplete": "the provider's answer stopped without its end",
    "idle_timeout": "the source was silent for longer than the request allows",
    "generation_timeout": "it ran for longer than a generation may (MIDSTREAM_GENERATION_TIMEOUT_S)",
    "output_too_large": "it grew larger than a stream may",
    "source_error": "the app's own generator failed",
    "filter_failed": "one of the operator's filters failed",
    "filter_timeout": "one of the operator's filters took too long (MIDSTREAM_FILTER_TIMEOUT_S)",
    "reattach_unsupported": "its worker was lost, and the provider's response cannot be read on",
    "reattach_mismatch": "its worker was lost, and the provider's response is not the one in the log",
    "producer_lost": "its producer, a program outside midstream, was lost or stopped",
    "unknown_model": "its worker has no such model, or no key for it",
    "log_full": "the log's server was out of memory",
    "step_unknown": "a step of its app was begun by an attempt that was lost, and nobody knows whether it was done",
    "step_failed": "a step of its app was begun by an attempt that was lost, and nobody knows whether it was done",
    "outdated": "nothing had looked after it for too long, as in a restored log, so it was not run again",
    "sealed_by_operator": "an operator has ended it",
    "internal": "of a fault in midstream itself, which the worker's log has",
}
"""Why a stream failed or was interrupted, by its code; those that depend on more are in `_cause`."""
ANSWERED: Final = {
    "provider_auth": "401",
    "provider_bad_request": "400",
    "provider_quota": "402",
    "provider_rate_limited": "429",
    "provider_overloaded": "503",
    "provider_error": "500",
}
"""The status that a code of a provider's failure mostly stands for."""
WITH_MESSAGE: Final = ("provider_", "source_error", "filter_", "sealed_by_operator", "step_")
"""Codes whose message says more than the reason."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker, as far as it matters to a stream that waits for one, or is held by it."""

    name: str
    draining: bool
    slots: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a stream.

    Attributes:
        state: Its state.
        now_ms: The server's time.
        course: What its log tells.
        past: What ended its earlier attempts.
        workers: The workers that live.
        place: How many slips wait before its own; None: it has none.
        settings: The settings of the process that tells.
    """

    state: State
    now_ms: int
    course: Course
    past: Sequence[PastAttempt] = ()
    workers: Sequence[Candidate] = ()
    place: int | None = None
    settings: Settings


def why(facts: Evidence) -> str:
    """Return the sentence."""
    if facts.state.policy == EXTERNAL and not facts.state.ended:
        return f"{_producing(facts)}."
    match facts.state.status:
        case "queued" if facts.state.waits:
            return f"It waits until all streams before it in its thread have ended: {_waiting(facts)}."
        case "queued":
            return (
                f"It has been queued for {span(facts.now_ms - facts.state.queued_ms)}{_after(facts)}, {_wait(facts)}."
            )
        case "running":
            return f"{_holding(facts)}."
    return f"{_ending(facts)}."


def _waiting(facts: Evidence) -> str:
    how = "its start has asked to cancel them" if facts.state.waits == "cancel" else "its start has asked for that"
    return f"{how} {span(facts.now_ms - facts.state.queued_ms)} ago"


def _producing(facts: Evidence) -> str:
    """Return what a program outside midstream does with its stream."""
    state = facts.state
    fate = "a reaper ends it as interrupted (producer_lost)"
    if state.status == "queued":
        return f"Its producer has created it and not claimed it yet; without a claim {fate}"
    who = f"producer {_worker(state.owner)}"
    if state.lease_until_ms <= facts.now_ms:
        return f"Its {who} was lost and the lease ran out {span(facts.now_ms - state.lease_until_ms)} ago; {fate}"
    if state.cancel_ms:
        return f"A cancel was asked for {span(facts.now_ms - state.cancel_ms)} ago, and its {who} is about to end it"
    return f"Its {who} is writing it: {number_of(state.tail, 'entry')} so far"


def _after(facts: Evidence) -> str:
    """Return what came before a stream was queued again; empty for its first time."""
    if not facts.state.epoch:
        return ""
    last = next((each for each in facts.past if each.epoch == facts.state.epoch), None)
    if last is None:
        return f" after attempt {facts.state.epoch}"
    what = "was lost" if last.how == LOST else "has stopped and handed it over"
    return f" after attempt {last.epoch}, whose worker {_worker(last.owner)} {what}"


def _wait(facts: Evidence) -> str:
    left_ms = facts.settings.queue_timeout_s * 1000 - (facts.now_ms - facts.state.queued_ms)
    if left_ms <= 0:
        return "longer than MIDSTREAM_QUEUE_TIMEOUT_S allows, and a reaper is about to end it (queue_timeout)"
    end = f"it ends as failed (queue_timeout) in {span(left_ms)}"
    if not facts.workers:
        return f"and no worker is alive: if none starts, {end}"
    number = number_of(len(facts.workers), "worker")
    ready = [each for each in facts.workers if not each.draining]
    if not ready:
        return f"and the only {number} that {_is_or_are(facts.workers)} alive will take nothing more (draining): {end}"
    if facts.place is None:
        return f"and its slip is lost: a reaper writes a new one within {span(facts.settings.requeue_ms)}"
    before = f"{number_of(facts.place, 'stream')} before it" if facts.place else "no stream before it"
    if not any(each.free for each in ready):
        slots = sum(each.slots for each in ready)
        return f"and all {slots} slots of {number_of(len(ready), 'worker')} are taken, with {before} on the queue"
    return f"with {before}, and a worker with room is about to take it"


def _holding(facts: Evidence) -> str:
    state, now_ms = facts.state, facts.now_ms
    name = worker_of(state.owner)
    who = f"worker {_worker(state.owner)}"
    is_alive = any(each.name == name for each in facts.workers)
    left_ms = state.lease_until_ms - now_ms
    if left_ms <= 0 and is_alive:
        return f"Its {who} lives but has not renewed the lease, which ran out {span(-left_ms)} ago; {_fate(facts)}"
    if left_ms <= 0:
        return f"Its {who} was lost and the lease ran out {span(-left_ms)} ago; {_fate(facts)}"
    if name and not is_alive:
        return f"Its {who} is not among those alive; when the lease runs out in {span(left_ms)}, {_fate(facts)}"
    if state.cancel_ms:
        return f"A cancel was asked for {span(now_ms - state.cancel_ms)} ago, and its {who} is about to end it"
    return _progress(facts, who)


def _fate(facts: Evidence) -> str:
    """Return what a reaper does once the lease is over."""
    state = facts.state
    match judge(state, max(facts.now_ms, state.lease_until_ms + 1), facts.settings):
        case Requeue():
            return "a reaper queues it again"
        case Seal(outcome=outcome) if outcome == CANCELLED:
            return "a reaper ends it as cancelled, as a client has asked"
        case Seal(code="attempts_exhausted"):
            return f"a reaper ends it as interrupted, because all {state.epoch} attempts are used up"
        case Seal():
            return f"a reaper ends it as interrupted, because {_no_other_call(state)}"
    return "a reaper looks at it again"


def _no_other_call(state: State) -> str:
    if state.policy == "reattach":
        return "its provider's answer cannot be read on, and its policy `reattach` permits no second call"
    return f"its policy `{state.policy}` forbids another paid call"


def _progress(facts: Evidence, who: str) -> str:
    state, course, now_ms = facts.state, facts.course, facts.now_ms
    attempt = f" on attempt {state.epoch}{_lost(facts)}" if state.epoch > 1 else ""
    if course.retry is not None:
        return _retrying(course.retry, now_ms, who)
    last_ms = state.last_entry_ms if state.last_entry_ms is not None else course.last_ms
    silent_ms = now_ms - (last_ms or state.started_ms)
    limit = span(facts.settings.idle_timeout_s * 1000)
    idle = f"after {limit} of silence, or the request's own limit, it ends as failed (idle_timeout)"
    if not course.has_word and not state.intent:
        return (
            f"Its {who} has claimed it{attempt} {span(now_ms - state.started_ms)} ago and has not called the model yet"
        )
    if not course.has_word:
        waited = span(now_ms - state.started_ms)
        return f"Its {who} waits{attempt} for the first word of {state.model}, {waited} so far; {idle}"
    if silent_ms >= SILENT_MS:
        return (
            f"{state.model} has been silent for {span(silent_ms)} after {number_of(state.tail, 'entry')}, and its "
            f"{who} waits{attempt}; {idle}"
        )
    ago = span(max(0, silent_ms))
    return f"Its {who} is writing it{attempt}: {number_of(state.tail, 'entry')} so far, the last one {ago} ago"


def _lost(facts: Evidence) -> str:
    """Return how many workers a stream has lost; one that loses many may be what kills them."""
    number = sum(each.how == LOST for each in facts.past)
    return f" ({number_of(number, 'worker')} lost before)" if number else ""


def _retrying(retry: Retry, now_ms: int, who: str) -> str:
    answered = ANSWERED.get(retry.reason)
    after = f"{answered} ({retry.reason})" if answered else retry.reason
    left_ms = (retry.written_ms or now_ms) + retry.delay_ms - now_ms
    when = f"in {span(left_ms)}" if left_ms > 0 else f"{span(-left_ms)} ago, and no word has come of it yet"
    verb = "makes" if left_ms > 0 else "made"
    return f"Its {who} is retrying: after {after} it {verb} call {retry.number} {when}"


def _ending(facts: Evidence) -> str:
    state, end = facts.state, facts.course.end
    took = span(state.ended_ms - state.created_ms)
    attempts = f", on attempt {state.epoch}" if state.epoch > 1 else ""
    retries = f", with {number_of(facts.course.retries, 'retry')}" if facts.course.retries else ""
    if state.outcome == COMPLETED:
        return f"It completed in {took}{attempts}{retries}"
    if state.outcome == CANCELLED:
        when = (
            f"after {took} and {number_of(state.tail, 'entry')}" if state.started_ms else f"after {took} on the queue"
        )
        return f"It was cancelled {when}"
    error = end.get("error") or {}
    code, message = str(error.get("code") or ""), str(error.get("message") or "")
    how = "was interrupted" if state.outcome == INTERRUPTED else "failed"
    if not code:
        return f"It {how} after {took}{attempts}, and its end does not say why"
    cause = _cause(facts, code, message)
    if cause is None:
        return f"It {how} after {took}{attempts} ({code}): {_cut(message) or 'its end says no more'}"
    more = f': "{_cut(message)}"' if message and code.startswith(WITH_MESSAGE) else ""
    return f"It {how} after {took}{attempts}{retries}, because {cause} ({code}){more}"


def _cause(facts: Evidence, code: str, message: str) -> str | None:
    state = facts.state
    match code:
        case "worker_lost":
            after = number_of(max(0, state.tail - 1), "entry")
            how = "has stopped" if "stopped" in message else "was lost"
            return f"worker {_worker(state.owner)} {how} after {after}, and {_no_other_call(state)}"
        case "attempts_exhausted":
            return (
                f"each of its {number_of(state.epoch, 'attempt')} lost its worker, the last one {_worker(state.owner)}"
            )
        case "queue_timeout":
            waited = span(max(0, state.ended_ms - state.queued_ms))
            return f"no worker took it within {waited}{_after(facts)}"
    return REASONS.get(code)


def _worker(owner: str) -> str:
    name = worker_of(owner)
    return place_of(name) if name else "of an unknown name"


def _is_or_are(workers: Sequence[Candidate]) -> str:
    return "is" if len(workers) == 1 else "are"


def _cut(message: str) -> str:
    line = " ".join(message.split()).rstrip(".")
    return line if len(line) <= MESSAGE_CHARS else f"{line[:MESSAGE_CHARS]}…"
