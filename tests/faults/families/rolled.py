"""A deploy: brokers and workers are replaced one by one while streams are started and read."""

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.families.drained import BROKER_GONE_S, DRAIN_S, SHORT_S
from tests.faults.family import Family
from tests.faults.rig import Rig
from tests.faults.trial import MODELS, Trial
from tests.topology import TOPOLOGIES

ONE_BY_ONE, KILLED, TOGETHER, STORM = "one by one", "killed in mid-parting", "both at once", "into a storm"
POINTS = (ONE_BY_ONE, KILLED, TOGETHER, STORM)
VOLLEY = 30
COMING_S = 1.0
"""So long streams are started while the deploy goes on."""
PARTING_S = 0.02
STORM_READERS = 8


def draw(rng: random.Random, number: int) -> dict[str, Any]:
    """Answers that a worker finishes within its drain."""
    return {
        "model": MODELS[number % len(MODELS)],
        "script": Script(words=rng.randint(10, 22), delay_ms=20, unicode=True),
        "point": POINTS[number // VOLLEY % len(POINTS)],
    }


async def run(rig: Rig, trials: Sequence[Trial]) -> None:
    """Replace every process, while readers come to those that go."""
    point = trials[0].case.point
    await rig.worker()
    coming = asyncio.create_task(_come(rig, trials, STORM_READERS if point == STORM else 3))
    await _replace_worker(rig, trials)
    groups = [range(len(rig.brokers))] if point == TOGETHER else [[at] for at in range(len(rig.brokers))]
    for group in groups:
        await asyncio.gather(*(_replace_broker(rig, trials, at, is_killed=point == KILLED) for at in group))
    await _replace_worker(rig, trials)
    await coming
    await stage.settle(rig, trials)


async def _come(rig: Rig, trials: Sequence[Trial], readers: int) -> None:
    """Start stream after stream, each with its readers; a start that no broker answers is repeated by its key."""
    for trial in trials:
        await stage.post(rig, trial)
        stage.read(rig, trial, readers)
        await asyncio.sleep(COMING_S / len(trials))


async def _replace_broker(rig: Rig, trials: Sequence[Trial], at: int, *, is_killed: bool) -> None:
    """Stop a broker, and start another one in its place; one that `is_killed` comes to no end of its partings."""
    leaving = rig.brokers[at]
    began_s, before = time.monotonic(), rig.starved_ms()
    leaving.signal(signal.SIGTERM)
    if is_killed:
        await asyncio.sleep(PARTING_S)
        await leaving.kill()
    else:
        await leaving.gone()
    took_s = time.monotonic() - began_s
    starved_s = rig.starved_since(before) / 1000
    await rig.start_broker(at)
    for trial in trials:
        trial.latency_ms = max(trial.latency_ms or 0, took_s * 1000)
        if took_s > BROKER_GONE_S + starved_s:
            trial.breaks(f"a broker was gone after {took_s:.1f} s")


async def _replace_worker(rig: Rig, trials: Sequence[Trial]) -> None:
    """Start a worker, and tell the one before it to go."""
    leaving, heir = await rig.worker(), await rig.start_worker()
    rig.succeed(heir)
    began_s, before = time.monotonic(), rig.starved_ms()
    leaving.signal(signal.SIGTERM)
    code = await leaving.gone()
    is_cut = time.monotonic() - began_s > DRAIN_S and rig.starved_since(before) / 1000 > DRAIN_S - SHORT_S
    for trial in trials:
        if is_cut:  # there was no CPU for even a short answer within the drain
            trial.case = replace(trial.case, allowed=trial.case.allowed | {"interrupted"})
        if code:
            trial.breaks(f"a worker ended with {code}")


FAMILIES = (Family("rolled", 120, VOLLEY, draw, run, on=TOPOLOGIES),)
