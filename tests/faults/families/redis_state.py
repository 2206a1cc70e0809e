"""Redis runs out of memory, refuses for a moment, or comes back with an older history."""

import asyncio
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.families.worker_killed import COMBINATIONS, allowed
from tests.faults.family import Family
from tests.faults.rig import Rig
from tests.faults.trial import Trial

VOLLEY = 36
FULL_S = (0.5, 1.5, 3.0)
BACK_S = (0.05, 0.2, 0.5, 0.9)
NO_LIMIT = "0"
TOO_LITTLE = "1mb"


def draw_full(rng: random.Random, number: int) -> dict[str, Any]:
    """Run out of memory in mid-stream."""
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    script = Script(words=rng.randint(20, 60), delay_ms=rng.uniform(5, 30))
    return {"model": model, "policy": policy, "script": script, "point": FULL_S[number // VOLLEY % len(FULL_S)]}


async def run_full(rig: Rig, trials: Sequence[Trial]) -> None:
    """Take the server's memory away for a while; some streams begin while there is none."""
    await rig.worker()
    early, late = trials[len(trials) // 3 :], trials[: len(trials) // 3]
    await stage.begin(rig, early)
    await asyncio.sleep(0.3)
    await rig.redis.config_set("maxmemory", TOO_LITTLE)
    beginning = asyncio.create_task(stage.begin(rig, late))
    try:
        await asyncio.sleep(trials[0].case.point)
    finally:
        await rig.redis.config_set("maxmemory", NO_LIMIT)
    await beginning
    await stage.settle(rig, trials)


REFUSALS = tuple((how, for_s) for for_s in (0.3, 1.2) for how in ("READONLY", "NOREPLICAS", "BUSY"))
NOBODY = ("127.0.0.1", "1")
BUSY_FOR_S = "local function now() local t = redis.call('TIME') return t[1] + t[2] / 1e6 end\n"
BUSY_FOR_S += "local till = now() + ARGV[1]\nwhile now() < till do end"


def draw_refused(rng: random.Random, number: int) -> dict[str, Any]:
    """Have the server refuse for a moment in mid-stream; the longer one exceeds a lease."""
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    script = Script(words=rng.randint(20, 60), delay_ms=rng.uniform(5, 30))
    return {"model": model, "policy": policy, "script": script, "point": REFUSALS[number // VOLLEY % len(REFUSALS)]}


async def run_refused(rig: Rig, trials: Sequence[Trial]) -> None:
    """Make the server refuse what it is asked, and then go on as if nothing had been; some streams begin meanwhile."""
    await rig.worker()
    early, late = trials[len(trials) // 3 :], trials[: len(trials) // 3]
    await stage.begin(rig, early)
    await asyncio.sleep(0.3)
    how, for_s = trials[0].case.point
    redis: Any = rig.redis
    beginning = asyncio.create_task(stage.begin(rig, late))
    match how:
        case "READONLY":
            await redis.execute_command("REPLICAOF", *NOBODY)
            await asyncio.sleep(for_s)
            await redis.execute_command("REPLICAOF", "NO", "ONE")
        case "NOREPLICAS":
            await redis.config_set("min-replicas-to-write", 1)
            await asyncio.sleep(for_s)
            await redis.config_set("min-replicas-to-write", 0)
        case _:
            await redis.config_set("busy-reply-threshold", 20)
            await redis.eval(BUSY_FOR_S, 0, for_s)
    await beginning
    await stage.settle(rig, trials)


def draw_rollback(rng: random.Random, number: int) -> dict[str, Any]:
    """Lose the last part of the history in mid-stream."""
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    script = Script(words=rng.randint(120, 150), delay_ms=rng.uniform(25, 30))
    truth = {"completed"} | allowed(model, policy)
    return {
        "model": model,
        "policy": policy,
        "script": script,
        "point": BACK_S[number // VOLLEY % len(BACK_S)],
        "allowed": truth,
    }


async def run_rollback(rig: Rig, trials: Sequence[Trial]) -> None:
    """Kill the server and start it on a copy of its files that was made a while before. Append/Rollback."""
    await rig.worker()
    await stage.begin(rig, trials)
    await stage.until(rig, trials, lambda state: bool(state.get("upstream_id") or state.get("tail", "0") > "1"), 5)
    await asyncio.sleep(0.1)
    files, copy = rig.server.directory / "appendonlydir", rig.folder / "copy"
    await asyncio.to_thread(shutil.copytree, files, copy)
    await asyncio.sleep(trials[0].case.point)
    await asyncio.to_thread(rig.server.kill)
    for trial in trials:  # who has seen an end asks no more, and cannot be told that it never was
        trial.readers = [reader for reader in trial.readers if not reader.over]
    await asyncio.to_thread(_replace, files, copy)
    await asyncio.to_thread(rig.server.start)
    await rig.load_scripts()
    await stage.settle(rig, trials)
    resets = sum(len(reader.resets) for trial in trials for reader in trial.readers)
    trials[0].notes.append(f"{resets} clients were told reset")


def _replace(files: Path, copy: Path) -> None:
    shutil.rmtree(files)
    copy.rename(files)


FAMILIES = (
    Family("redis-out-of-memory", 108, VOLLEY, draw_full, run_full),
    Family("redis-refuses", 216, VOLLEY, draw_refused, run_refused),
    Family("redis-rollback", 144, VOLLEY, draw_rollback, run_rollback),
)
