"""A worker is frozen for a while and wakes as a zombie: it must be fenced, or go on if nobody took over."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.families.worker_killed import BACKGROUND, COMBINATIONS, STARTED_S, allowed
from tests.faults.family import Family
from tests.faults.rig import LEASE_MS, Rig
from tests.faults.trial import Trial
from tests.topology import TOPOLOGIES

VOLLEY = 36
FREEZES_MS = (300, 900, 1_050, 1_300, 2_500)
SHORT_MS = 500
"""Shorter than what is left of a lease that is renewed every third of it."""
BEFORE_S = 0.5
AFTER_S = 0.8


def draw(rng: random.Random, number: int) -> dict[str, Any]:
    """Freeze in the midst of an answer; its provider goes on meanwhile."""
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    freeze_ms = FREEZES_MS[number // VOLLEY % len(FREEZES_MS)]
    script = Script(words=rng.randint(20, 60), delay_ms=rng.uniform(25, 40))
    truth = {"completed"} if freeze_ms < SHORT_MS else {"completed"} | allowed(model, policy)
    return {"model": model, "policy": policy, "script": script, "point": freeze_ms, "allowed": truth}


async def run(rig: Rig, trials: Sequence[Trial]) -> None:
    """Freeze the worker of all streams, have another one at hand, and wake the first one."""
    victim, heir = await rig.worker(), await rig.standby()
    freeze_ms = trials[0].case.point
    await stage.begin(rig, trials)
    await asyncio.sleep(BEFORE_S)
    reattachable = [trial for trial in trials if trial.case.model in BACKGROUND]  # once the upstream's id is noted
    await stage.until(rig, reattachable, lambda state: bool(state.get("upstream_id")), STARTED_S)
    victim.freeze()
    if freeze_ms > LEASE_MS * 2:
        frozen_ms = stage.now_ms()
        for trial, state in zip(trials, await stage.states(rig.redis, trials), strict=True):
            trial.died_ms = 0 if stage.ended(state) else frozen_ms
    heir.thaw()
    await asyncio.sleep(freeze_ms / 1000)
    victim.thaw()
    await stage.settle(rig, trials)
    await asyncio.sleep(AFTER_S)
    for trial in trials:
        if await stage.entries(rig.redis, trial.name) != trial.entries:
            trial.breaks("I6 fenced: the log has changed after its end")
    await victim.kill()
    rig.succeed(heir)


FAMILIES = (Family("worker-frozen", 180, VOLLEY, draw, run, on=TOPOLOGIES),)
