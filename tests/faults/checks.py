"""The invariants, seen from outside: the log in Redis, the provider's books, what clients were sent."""

from collections.abc import Iterator

from midstream.log.entries import Entry
from midstream.testing.provider.script import Script
from tests.faults.trial import Trial

IN_TIME_MS = 1_000
MEASURING_MS = 500
"""Allowance for a machine with few cores that also runs the clients, the provider and the watching.

What the system says that a process waited for a CPU is allowed on top: on a machine that others load as well, no
process keeps any time. The table tells the times as they were.
"""

ERROR_CODES: dict[str, set[str | None]] = {
    "interrupted": {"worker_lost", "producer_lost", "attempts_exhausted", "sealed_by_operator", "step_unknown"},
    "cancelled": {None},
    "completed": {None},
}


def check(trial: Trial) -> None:
    """Note every violation; of a stream that is gone, only what its clients were sent can be judged."""
    if trial.gone:
        for sentence in (*_paid(trial), *(p for reader in trial.readers for p in reader.problems(None))):
            trial.breaks(sentence)
        return
    for sentence in (*_log(trial), *_truth(trial), *_paid(trial), *_in_time(trial), *_clients(trial)):
        trial.breaks(sentence)


def _log(trial: Trial) -> Iterator[str]:
    log = trial.entries
    offsets = [entry.offset for entry in log]
    if offsets != list(range(1, len(log) + 1)):
        yield f"I1 dense: the offsets are {offsets}"
    epochs = [entry.epoch for entry in log]
    if epochs != sorted(epochs):
        yield f"I6 fenced: the epochs are {epochs}"
    ends = [entry.offset for entry in log if entry.type == "end"]
    if ends != [len(log)]:
        yield f"I3 truthful end: end entries at {ends} of {len(log)}; state {trial.state.get('status')}"
    if trial.state.get("status") == "ended" and trial.state.get("tail") != str(len(log)):
        yield f"I1 dense: the state says tail {trial.state.get('tail')}, the log has {len(log)}"


def _truth(trial: Trial) -> Iterator[str]:
    if not trial.entries or trial.entries[-1].type != "end":
        return
    end = trial.entries[-1].data
    outcome = end["outcome"]
    if outcome != trial.outcome:
        yield f"I3 truthful end: the entry says {outcome}, the state {trial.outcome}"
    if outcome not in trial.case.allowed:
        yield f"I3 truthful end: {outcome} ({end['error']}) where {sorted(trial.case.allowed)} would be true"
    code = end["error"]["code"] if end["error"] else None
    if outcome in ERROR_CODES and code not in ERROR_CODES[outcome]:
        yield f"I3 truthful end: {outcome} with error {code}"
    if (end["finish_reason"] is not None) != (outcome == "completed") and outcome != "cancelled":
        yield f"I3 truthful end: {outcome} with finish reason {end['finish_reason']}"
    yield from _text(trial, completed=outcome == "completed")


def _text(trial: Trial, *, completed: bool) -> Iterator[str]:
    """Compare the answer with what the provider was to say; each continuation is an answer of its own."""
    pieces, script = [""], trial.case.script
    for entry in _after_reset(trial.entries):
        if entry.type == "status" and entry.data["state"] == "continuing" and any(pieces):
            pieces.append("")
        elif entry.type == "text":
            pieces[-1] += entry.text
    for number, piece in enumerate(pieces):
        expected = Script().text() if number else script.text()
        if completed and number == len(pieces) - 1 and piece != expected:
            yield f"I5 same bytes: completed with {piece!r} where the provider said {expected!r}"
        elif not expected.startswith(piece):
            yield f"I5 same bytes: {piece!r} is no beginning of {expected!r}"
    if completed and len(pieces) == 1:
        reasoning = "".join(e.text for e in _after_reset(trial.entries) if e.type == "reasoning")
        if reasoning != script.reasoning_text():
            yield f"I5 same bytes: reasoning {reasoning!r}"
        called = [e.data["arguments"] for e in _after_reset(trial.entries) if e.type == "tool_call"]
        if called != ([script.arguments()] if script.tool else []):
            yield f"I5 same bytes: tool calls {called}"


def _after_reset(log: list[Entry]) -> list[Entry]:
    resets = [at for at, entry in enumerate(log) if entry.type == "reset"]
    return log[resets[-1] :] if resets else log


def _paid(trial: Trial) -> Iterator[str]:
    expected = sum(entry.type == "status" and bool(entry.data.get("paid")) for entry in trial.entries)
    calls = len(trial.calls) - _forgotten(trial)
    opted = trial.case.policy in ("continue", "restart")
    if calls > 1 + (expected if opted else 0):
        yield f"I4 paid once: {calls} paid calls under {trial.case.policy}; the log tells of {expected} extra ones"
    if trial.outcome == "completed" and not trial.calls:
        yield "I3 truthful end: completed, but the provider was never called"


def _forgotten(trial: Trial) -> int:
    """Count the calls whose intent the server was allowed to forget, so that another one was made for each."""
    if trial.forgotten is None:
        return 0
    since_ms, till_ms = trial.forgotten
    return sum(since_ms < call["at_ms"] < till_ms for call in trial.calls)


def _in_time(trial: Trial) -> Iterator[str]:
    if trial.in_time and trial.late_ms is not None and trial.late_ms > IN_TIME_MS + MEASURING_MS + trial.starved_ms:
        yield f"I3 truthful end: {trial.late_ms:.0f} ms after the lease, {trial.starved_ms:.0f} ms of it without a CPU"


def _clients(trial: Trial) -> Iterator[str]:
    for number, reader in enumerate(trial.readers):
        yield from (f"client {number}: {problem}" for problem in reader.problems(trial.entries))
