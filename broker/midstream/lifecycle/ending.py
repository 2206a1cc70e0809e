"""The terminal entry, which workers, reapers and cancels make the same way."""

from typing import Any

from midstream.log.entries import END, Entry
from midstream.log.state import State
from midstream.money.prices import Cost


def end_entry(
    outcome: str,
    *,
    state: State,
    now_ms: int,
    finish_reason: str | None = None,
    error: dict[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
    cost: Cost | None = None,
    first_ms: int | None = None,
) -> Entry:
    """Return the terminal entry. All times are of the server's clock; `first_ms` is that of the first delta."""
    timings = {
        "queued_ms": max(0, (state.started_ms or now_ms) - state.created_ms),
        "first_delta_ms": None if first_ms is None else max(0, first_ms - state.created_ms),
        "total_ms": max(0, now_ms - state.created_ms),
    }
    return Entry(
        END,
        {
            "outcome": outcome,
            "finish_reason": finish_reason,
            "error": error,
            "usage": usage,
            "timings": timings,
            "cost": cost.document if cost else None,
        },
    )
