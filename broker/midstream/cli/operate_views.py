"""What operators are answered, as tables for people: pure functions of an answer and a width."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from midstream.cli.table import MS_PER_S, facts, size, span, table

Json = dict[str, Any]
SILENT_MS: Final = 10_000
"""A stream that has had no entry for so long is shown before others."""
MARKS: Final = {"ok": "ok     ", "warning": "WARNING", "fault": "FAULT  "}


def workers(answer: Json, fit: int) -> str:
    """Return workers, a row for each."""
    head = ("worker", "state", "up", "busy", "slots", "waiting", "streaming", "lease age", "late", "lag", "version")
    rows = [
        (
            _place(each),
            _state(each),
            span(each["uptime_ms"]),
            sum(each["states"].values()),
            each["slots"],
            each["states"].get("waiting", 0),
            each["states"].get("streaming", 0),
            span(each["renewal_age_ms"]),
            each["late_renewals"],
            span(each["loop_lag_ms"]),
            each["version"],
        )
        for each in answer["data"]
    ]
    return table(head, rows, fit) if rows else "no worker is alive"


def streams(rows: Sequence[Json], now_ms: float, fit: int) -> str:
    """Return the streams that a search found, in its order; `now_ms` is the time from which ages are counted."""
    head = ("stream", "tenant", "status", "why", "model", "attempts", "entries", "age", "silence", "user", "thread")
    cells = [
        (
            each["id"],
            each["tenant"],
            each["outcome"] or each["status"],
            each["code"],
            each["model"],
            each["epoch"],
            each["tail"],
            span(max(0, now_ms - each["created_ms"])),
            span(max(0, now_ms - (each["last_entry_ms"] or each["created_ms"]))) if not each["outcome"] else None,
            each["user"],
            each["thread"],
        )
        for each in rows
    ]
    return table(head, cells, fit) if rows else "no streams"


def generations(answer: Json, fit: int) -> str:
    """Return what all workers run: those that are silent first, then those with most attempts, then the oldest."""
    head = ("stream", "tenant", "model", "state", "attempt", "entries", "age", "silence", "lease age", "worker")
    running = [(each, worker) for worker in answer["data"] for each in worker["generations"]]
    rows = [
        (
            each["id"],
            each["tenant"],
            each["model"],
            each["state"],
            each["epoch"],
            each["tail"],
            span(each["age_ms"]),
            span(each.get("silence_ms")),
            span(each["lease_age_ms"]),
            _place(worker),
        )
        for each, worker in sorted(running, key=lambda pair: _urgency(pair[0]))
    ]
    return table(head, rows, fit) if rows else "no generation is running"


def _urgency(generation: Json) -> tuple[float, float, float]:
    silence_ms = generation.get("silence_ms") or 0  # a broker of an older version does not tell it
    return -silence_ms if silence_ms >= SILENT_MS else 0, -generation["epoch"], -generation["age_ms"]


def brokers(answer: Json, fit: int) -> str:
    """Return brokers, a row for each."""
    head = ("broker", "state", "up", "tails", "streams", "slowest", "unsent", "window", "lag", "version")
    rows = [
        (
            _place(each),
            _state(each),
            span(each["uptime_ms"]),
            each["tails"],
            each["followed_streams"],
            each["slowest_tail_lag_entries"],
            size(each["unsent_bytes"]),
            f"{size(each['window_bytes'])} of {size(each['window_max_bytes'])}",
            span(each["loop_lag_ms"]),
            each["version"],
        )
        for each in answer["data"]
    ]
    return table(head, rows, fit) if rows else "no broker is alive"


def queue(answer: Json, fit: int) -> str:
    """Return the queue's facts, and the names of what does not fit."""
    lost, astray = answer["streams_without_slip"], answer["slips_without_stream"]
    pairs = [
        ("slips that wait", answer["depth"]),
        ("oldest", span(answer["oldest_age_s"] * MS_PER_S)),
        ("streams queued", answer["queued_streams"]),
        ("streams not ended", answer["live_streams"]),
        ("streams without a slip", lost["number"]),
        ("slips without a stream", astray["number"]),
        ("looked at", None if answer["is_complete"] else "a part only"),
    ]
    names = [
        (what, f"{each['tenant']}/{each['id']}")
        for what, misfits in (("lost slip", lost), ("no stream", astray))
        for each in misfits["data"]
    ]
    return "\n".join(filter(None, (facts(pairs, fit), facts(names, fit))))


def stats(answer: Json, fit: int, minutes: int) -> str:
    """Return the last minutes, the present one last, and the whole hour."""
    head = ("minute", "starts", "done", "failed", "cancelled", "interrupted", "tokens/s", "first p50", "p95", "queued")
    rows = [_minute(_clock(row["began_ms"]), row) for row in answer["minutes"][-minutes:]]
    failures = answer["hour"]["failures"]
    named = ", ".join(f"{code} {number}" for code, number in sorted(failures.items(), key=lambda pair: -pair[1]))
    text = table(head, [*rows, _minute("hour", answer["hour"])], fit)
    return f"{text}\nfailures of the hour: {named}"[: len(text) + 1 + fit] if named else text


def _minute(name: str, row: Json) -> tuple[Any, ...]:
    outcomes, first = row["outcomes"], row["first_chunk_s"]
    return (
        name,
        row["starts"],
        outcomes["completed"],
        outcomes["failed"],
        outcomes["cancelled"],
        outcomes["interrupted"],
        row["output_tokens_per_s"],
        *(span(None if part is None else part * MS_PER_S) for part in (first["p50"], first["p95"])),
        row["most_queued"],
    )


def stream(answer: Json, fit: int) -> str:
    """Return what is known of a stream; the sentence is printed before it."""
    lease, timings, error = answer["lease"], answer["timings"], answer["error"] or {}
    owner = (lease or {}).get("owner") or {}
    usage = answer["usage"] or {}
    pairs = [
        ("stream", f"{answer['tenant']}/{answer['id']}"),
        ("status", answer["outcome"] or answer["status"]),
        ("model", answer["model"]),
        ("error", f"{error.get('code')}: {error.get('message')}" if error else None),
        ("worker", f"{owner['host']}:{owner['pid']}" if owner else None),
        ("lease", f"renewed {span(lease['age_ms'])} ago, {span(lease['left_ms'])} left" if lease else None),
        ("entries", answer["tail"]),
        ("queued for", span(timings["queued_ms"])),
        ("first word after", span(timings["first_delta_ms"]) if timings["first_delta_ms"] is not None else None),
        ("longest gap", f"{span(timings['longest_gap_ms'])} after entry {timings['longest_gap_after']}"),
        ("total", span(timings["total_ms"])),
        ("tokens", f"{usage.get('input_tokens')} in, {usage.get('output_tokens')} out" if usage else None),
        ("paid calls", answer["paid_calls"]),
        ("retries", answer["retries"] or None),
        ("upstream id", answer["upstream_id"]),
        ("tails", answer["tails"]["number"]),
    ]
    return "\n\n".join(filter(None, (facts(pairs, fit), _attempts(answer, fit), _tails(answer["tails"]["data"], fit))))


def _attempts(answer: Json, fit: int) -> str:
    rows = [
        (
            each["epoch"],
            f"{each['owner']['host']}:{each['owner']['pid']}" if each["owner"] else None,
            _clock(each["claimed_ms"]),
            each["ended_by"] or ("runs" if each["epoch"] == answer["epoch"] and not answer["ended_ms"] else "unknown"),
            _clock(each["ended_ms"]),
        )
        for each in answer["attempts"]
    ]
    return table(("attempt", "worker", "claimed", "ended by", "at"), rows, fit) if rows else ""


def _tails(rows: Sequence[Json], fit: int) -> str:
    cells = [(each["client"], each["cursor"], each["lag"], each["broker"]) for each in rows]
    return table(("client", "cursor", "lag", "broker"), cells, fit) if cells else ""


def findings(answer: Json, fit: int) -> str:
    """Return what is wrong or unsafe, a line for each thing that was looked at."""
    lines = [f"{MARKS[each['level']]}  {each['check']}: {each['message']}" for each in answer["data"]]
    total = f"{answer['faults']} faults, {answer['warnings']} warnings"
    return "\n".join(
        (
            *(line[:fit] if each["level"] == "ok" else line for line, each in zip(lines, answer["data"], strict=True)),
            total,
        )
    )


def _place(process: Json) -> str:
    return f"{process['host']}:{process['pid']}"


def _state(process: Json) -> str:
    if not process["alive"]:
        return f"silent {span(process['silent_ms'])}"
    return "draining" if process["draining"] else "alive"


def _clock(at_ms: float | None) -> str:
    if at_ms is None:
        return "-"
    return datetime.fromtimestamp(at_ms / MS_PER_S, UTC).astimezone().strftime("%H:%M:%S")
