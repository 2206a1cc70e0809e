"""Streams that are forgotten, or that expire, while somebody reads or writes them."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.family import Family
from tests.faults.rig import SETTINGS, Rig
from tests.faults.trial import MODELS, Trial

TOMBSTONE_S = float(str(SETTINGS["TOMBSTONE_S"]))
TTL_S = 1
MARGIN_S = 0.7
GONE = ("404", "410")


def draw(rng: random.Random, number: int) -> dict[str, Any]:
    """Delete at a moment of the answer, or after it."""
    script = Script(words=rng.randint(10, 60), delay_ms=rng.uniform(5, 40))
    return {"model": MODELS[number % 3], "script": script, "point": rng.uniform(0, 1), "allowed": set()}


async def run_deleted(rig: Rig, trials: Sequence[Trial]) -> None:
    """Delete each stream at its own moment."""
    await rig.worker()
    await stage.begin(rig, trials)
    await asyncio.gather(*(_delete(rig, trial, trial.case.point) for trial in trials))
    await asyncio.sleep(TOMBSTONE_S + MARGIN_S)
    await _settle(rig, trials)


async def run_zombie(rig: Rig, trials: Sequence[Trial]) -> None:
    """Delete streams whose worker is frozen, and wake it once nothing is left that could fence it."""
    victim = await rig.worker()
    await stage.begin(rig, trials)
    await stage.until(rig, trials, lambda state: state.get("status") in ("running", "ended"), 5)
    await asyncio.sleep(0.2)
    victim.freeze()
    await asyncio.gather(*(_delete(rig, trial, 0) for trial in trials))
    await asyncio.sleep(TOMBSTONE_S + MARGIN_S)
    victim.thaw()
    await asyncio.sleep(MARGIN_S)
    await _settle(rig, trials)


async def run_expired(rig: Rig, trials: Sequence[Trial]) -> None:
    """Let streams expire that clients still read in pieces."""
    await rig.worker()
    await stage.begin(rig, trials, ttl_s=TTL_S)
    await stage.until(rig, trials, stage.ended, 10)
    await asyncio.sleep(TTL_S + MARGIN_S)
    for trial in trials:
        stage.read(rig, trial, readers=1)
    await _settle(rig, trials)


async def _delete(rig: Rig, trial: Trial, after_s: float) -> None:
    await asyncio.sleep(after_s)
    answer = await rig.http.delete(f"{rig.random.choice(rig.urls)}/v1/streams/{trial.stream_id}")
    if answer.status_code != 204:
        trial.breaks(f"DELETE was answered by {answer.status_code}: {answer.text}")


async def _settle(rig: Rig, trials: Sequence[Trial]) -> None:
    await stage.settle(rig, trials)
    for trial in trials:
        trial.gone = True
        if trial.state or trial.entries:
            trial.breaks(f"I6 fenced: it is back: {trial.state}, {len(trial.entries)} entries")
        for reader in trial.readers:
            if reader.over not in (*GONE, "end"):
                trial.breaks(f"a client was never told: {reader.over!r}, {reader.resets}")


FAMILIES = (
    Family("deleted-under-tail", 80, 40, draw, run_deleted),
    Family("deleted-under-zombie", 40, 40, draw, run_zombie),
    Family("expired", 40, 40, draw, run_expired),
)
