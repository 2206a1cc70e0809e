"""Which workers and brokers there are, and what each of them does (PROTOCOL: Operate/Roll)."""

from typing import Any

from midstream.log.entries import Json
from midstream.log.keys import id_of, tenant_of
from midstream.log.roll import ALIVE_MS, Kind, Signature
from midstream.operate.operator import Operator


async def workers(operator: Operator) -> Json:
    """Return all workers on the roll. Raises `LogUnavailable`, as every function of this room."""
    rows, now_ms = await _rows(operator, "worker")
    for row in rows:
        within_reach = [each for each in row["generations"] if operator.reaches(each["stream"])]
        row["generations"] = [_generation(each, row, now_ms) for each in within_reach]
    return {"data": rows, "now_ms": now_ms}


async def brokers(operator: Operator) -> Json:
    """Return all brokers on the roll."""
    rows, now_ms = await _rows(operator, "broker")
    return {"data": rows, "now_ms": now_ms}


async def _rows(operator: Operator, kind: Kind) -> tuple[list[Json], int]:
    roll = operator.resources.operations.roll
    signatures = await roll.present(kind)
    now_ms = await roll.now_ms()
    return [row_of(each, now_ms) for each in signatures], now_ms


def row_of(signature: Signature, now_ms: int) -> Json:
    """Return a process as operators see it; `now_ms` is the server's time."""
    facts = dict(signature.facts)
    clock_ms = facts.pop("clock_ms")
    silent_ms = max(0, now_ms - signature.signed_ms)
    return {
        "name": signature.name,
        "alive": silent_ms <= ALIVE_MS,
        "silent_ms": silent_ms,
        "clock_skew_ms": clock_ms - signature.signed_ms,
        "uptime_ms": max(0, clock_ms - facts["started_ms"]),
        **facts,
    }


def _generation(facts: dict[str, Any], worker: Json, now_ms: int) -> Json:
    age_ms = max(0, now_ms - facts["claimed_ms"])
    name = facts["stream"]
    lease_age_ms = min(age_ms, worker["silent_ms"] + worker["renewal_age_ms"])
    last_ms = facts.get("last_ms")
    ages = {
        "age_ms": age_ms,
        "silence_ms": None if last_ms is None else max(0, now_ms - last_ms),
        "lease_age_ms": lease_age_ms,
    }
    others = {key: value for key, value in facts.items() if key not in ("stream", "last_ms")}
    return {"tenant": tenant_of(name), "id": id_of(name), **ages, **others}
