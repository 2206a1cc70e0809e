"""Redis is killed and comes back, is silent, loses connections, loses single commands or answers."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from midstream.access.ids import OPEN_SECRET, derived_id
from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.families.worker_killed import COMBINATIONS
from tests.faults.families.worker_steps import Step, meant
from tests.faults.family import Family
from tests.faults.proxy import Action, runs
from tests.faults.rig import Rig
from tests.faults.trial import MODELS, RESPONSES, Trial

VOLLEY = 36
AWAY_S = (0.0, 0.3, 1.2)
SILENT_S = (0.8, 2.6, 3.6)
"""The longer ones exceed the time-out of a command, and a lease."""


def _draw(rng: random.Random, number: int, points: Sequence[Any]) -> dict[str, Any]:
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    return {
        "model": model,
        "policy": policy,
        "script": Script(words=rng.randint(10, 60), delay_ms=rng.uniform(5, 25), unicode=policy != "continue"),
        "point": points[number // VOLLEY % len(points)],
        "allowed": {"completed"},  # PROTOCOL: Recovery/Outage
    }


def draw_killed(rng: random.Random, number: int) -> dict[str, Any]:
    """Kill the server for a while."""
    return _draw(rng, number, AWAY_S)


def draw_silent(rng: random.Random, number: int) -> dict[str, Any]:
    """Freeze the server for a while."""
    return _draw(rng, number, SILENT_S)


def draw_cut(rng: random.Random, number: int) -> dict[str, Any]:
    """Cut all connections, some times."""
    return _draw(rng, number, (1, 3, 8)) | {"allowed": {"completed"}}


async def run_killed(rig: Rig, trials: Sequence[Trial]) -> None:
    """Kill the server in mid-stream and start it on the same data."""
    await rig.worker()
    await stage.begin(rig, trials)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(rig.server.kill)
    await asyncio.sleep(trials[0].case.point)
    await asyncio.to_thread(rig.server.start)
    await rig.load_scripts()
    await stage.settle(rig, trials)


async def run_silent(rig: Rig, trials: Sequence[Trial]) -> None:
    """Make the server a black hole in mid-stream."""
    await rig.worker()
    await stage.begin(rig, trials)
    await asyncio.sleep(0.3)
    rig.server.freeze()
    try:
        await asyncio.sleep(trials[0].case.point)
    finally:
        rig.server.thaw()
    await stage.settle(rig, trials)


async def run_cut(rig: Rig, trials: Sequence[Trial]) -> None:
    """Cut every process' connections to Redis at random moments."""
    worker = await rig.worker()
    await stage.begin(rig, trials)
    for _ in range(trials[0].case.point):
        await asyncio.sleep(rig.random.uniform(0.02, 0.3))
        for member in (worker, *rig.brokers):
            member.proxy.cut()
    await stage.settle(rig, trials)


LOSSES: tuple[tuple[str, Action], ...] = (("answer lost of", "drop_reply"), ("lost:", "cut"))
LOST = tuple(
    Step(f"{what} {name}", script, action, nth, word)
    for name, script, nth, word in (
        ("claim", "claim", 1, b""),
        ("intent", "renew", 1, b"intent"),
        ("upstream's id", "renew", 1, b"upstream_id"),
        ("first append", "append", 1, b""),
        ("third append", "append", 3, b""),
        ("renewal", "renew", 3, b""),
        ("seal", "seal", 1, b""),
        ("create", "start_stream", 1, b""),
    )
    for what, action in LOSSES
)


def draw_lost(rng: random.Random, number: int) -> dict[str, Any]:
    """Lose one command or its answer."""
    step = LOST[number % len(LOST)]
    model = RESPONSES if step.word == b"upstream_id" else MODELS[number // len(LOST) % len(MODELS)]
    script = Script(words=rng.randint(8, 30), delay_ms=rng.uniform(2, 15), first_delay_ms=400 * (step.nth == 3))
    return {"model": model, "policy": "auto", "script": script, "point": step}


async def run_lost(rig: Rig, trials: Sequence[Trial]) -> None:
    """Lose one command of each stream, or the answer to it. Append/Ambiguous, I4."""
    worker = await rig.worker()
    for trial in trials:
        step, stream_id = trial.case.point, derived_id(OPEN_SECRET, "key", "default", trial.case.tag)
        if step.script == "start_stream":
            for broker in rig.brokers:
                broker.proxy.rule(runs("start_stream", stream_id), step.action)
        else:
            worker.proxy.rule(meant(step, stream_id), step.action, nth=step.nth)
    await stage.begin(rig, trials)
    await stage.settle(rig, trials)
    for member in (worker, *rig.brokers):
        member.proxy.rules.clear()


FAMILIES = (
    Family("redis-killed", 108, VOLLEY, draw_killed, run_killed),
    Family("redis-silent", 108, VOLLEY, draw_silent, run_silent),
    Family("redis-connection-cut", 108, VOLLEY, draw_cut, run_cut),
    Family("redis-reply-lost", 96, 48, draw_lost, run_lost),
)
