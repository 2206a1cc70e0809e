"""Rates and outcomes of the last hour, minute by minute (PROTOCOL: Operate/Minutes)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

from midstream.lifecycle.minute_counts import FIRST_CHUNK_BOUNDS_S
from midstream.log.entries import OUTCOMES, Json
from midstream.operate.operator import Operator

MINUTE_S: Final = 60


async def stats(operator: Operator) -> Json:
    """Return a row for each minute of the last hour, the present one last, and one for the whole hour."""
    roll = operator.resources.operations.roll
    now_ms = await roll.now_ms()
    minutes = await roll.minutes(now_ms)
    hour: Counter[str] = Counter()
    for _, fields in minutes:
        hour.update({name: number for name, number in fields.items() if name != "queue"})
    hour["queue"] = max((fields.get("queue", 0) for _, fields in minutes), default=0)
    last = minutes[-1][0]
    lengths_s = [(now_ms - began_ms) / 1000 if began_ms == last else MINUTE_S for began_ms, _ in minutes]
    rows = [row_of(began_ms, fields, length_s) for (began_ms, fields), length_s in zip(minutes, lengths_s, strict=True)]
    return {"minutes": rows, "hour": row_of(minutes[0][0], hour, sum(lengths_s)), "now_ms": now_ms}


def row_of(began_ms: int, fields: Mapping[str, int], length_s: float) -> Json:
    """Return what was counted in `length_s` seconds as operators see it."""
    first_chunks = [fields.get(f"first:{part}", 0) for part in range(len(FIRST_CHUNK_BOUNDS_S) + 1)]
    call_s = fields.get("call_ms", 0) / 1000
    output_tokens = fields.get("output_tokens", 0)
    return {
        "began_ms": began_ms,
        "starts": fields.get("starts", 0),
        "joined": fields.get("joined", 0),
        "outcomes": {outcome: fields.get(f"end:{outcome}", 0) for outcome in OUTCOMES},
        "failures": {
            name.removeprefix("code:"): number for name, number in sorted(fields.items()) if name.startswith("code:")
        },
        "calls": fields.get("calls", 0),
        "paid_calls": fields.get("paid_calls", 0),
        "paid_calls_avoided": fields.get("paid_calls_avoided", 0),
        "lease_losses": fields.get("lease_losses", 0),
        "limit_exceeded": fields.get("limit_exceeded", 0),
        "input_tokens": fields.get("input_tokens", 0),
        "output_tokens": output_tokens,
        "output_tokens_per_s": round(output_tokens / length_s, 2) if length_s > 0 else 0.0,
        "tokens_per_s_of_a_call": round(output_tokens / call_s, 2) if call_s else None,
        "first_chunk_s": {"p50": quantile(first_chunks, 0.5), "p95": quantile(first_chunks, 0.95)},
        "most_queued": fields.get("queue", 0),
    }


def quantile(numbers: Sequence[int], part: float) -> float | None:
    """Return the value below which this part of the measured ones is, as a line through its bucket; None: no values.

    Args:
        numbers: How many values are in each bucket; the last one has no upper bound and counts as its lower one.
        part: Between 0 and 1.
    """
    sums = [*accumulate(numbers)]
    if not sums[-1]:
        return None
    rank = part * sums[-1]
    bucket = next(number for number, total in enumerate(sums) if total >= rank and numbers[number])
    if bucket == len(FIRST_CHUNK_BOUNDS_S):
        return FIRST_CHUNK_BOUNDS_S[-1]
    low = FIRST_CHUNK_BOUNDS_S[bucket - 1] if bucket else 0.0
    inside = (rank - (sums[bucket] - numbers[bucket])) / numbers[bucket]
    return round(low + (FIRST_CHUNK_BOUNDS_S[bucket] - low) * max(0.0, inside), 4)
