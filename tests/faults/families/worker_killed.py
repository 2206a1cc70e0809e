"""A worker is killed: when the k-th entry of its stream has appeared, or at a step of the protocol."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from typing import Any

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.family import Family
from tests.faults.members import Member
from tests.faults.rig import Rig
from tests.faults.trial import GEMINI, MODELS, POLICIES, RESPONSES, SERVER, Trial
from tests.topology import TOPOLOGIES

WORDS = 12
STARTED_S = 6.0
COMBINATIONS = tuple(itertools.product(MODELS, POLICIES))
BACKGROUND = (RESPONSES, SERVER, GEMINI)
"""Models whose calls another worker can read on."""


def allowed(model: str, policy: str) -> set[str]:
    """Return what is true of a stream whose worker died after its intent."""
    if policy in ("continue", "restart") or (policy == "auto" and model in BACKGROUND):
        return {"completed"}
    return {"interrupted"}


def draw_entry(rng: random.Random, number: int) -> dict[str, Any]:
    """Hold the provider before its k-th word: k is where the worker dies."""
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    return _held(rng, model, policy, number // len(COMBINATIONS))


def draw_server(rng: random.Random, number: int) -> dict[str, Any]:
    """Do as `draw_entry`, at a server that is not OpenAI's."""
    return _held(rng, SERVER, POLICIES[number % len(POLICIES)], number // len(POLICIES))


def draw_gemini(rng: random.Random, number: int) -> dict[str, Any]:
    """Do as `draw_entry`, at Gemini."""
    return _held(rng, GEMINI, POLICIES[number % len(POLICIES)], number // len(POLICIES))


def _held(rng: random.Random, model: str, policy: str, number: int) -> dict[str, Any]:
    at = number % (WORDS + 1)
    script = Script(words=WORDS, delay_ms=4, fail="stall", fail_at=at, fail_times=1, unicode=rng.random() < 0.3)
    return {"model": model, "policy": policy, "script": script, "point": at, "allowed": allowed(model, policy)}


def draw_flow(rng: random.Random, number: int) -> dict[str, Any]:
    """Let the answer flow, so that the kill hits any moment: in an append, between two, after the seal."""
    return _flowing(rng, *COMBINATIONS[number % len(COMBINATIONS)])


def draw_gemini_flow(rng: random.Random, number: int) -> dict[str, Any]:
    """Do as `draw_flow`, at Gemini."""
    return _flowing(rng, GEMINI, POLICIES[number % len(POLICIES)])


def _flowing(rng: random.Random, model: str, policy: str) -> dict[str, Any]:
    script = Script(
        words=rng.randint(5, 60),
        delay_ms=rng.uniform(1, 15),
        first_delay_ms=rng.choice((0, 0, 50, 300)),
        reasoning=rng.choice((0, 0, 3)),
        tool=rng.random() < 0.2,
        unicode=rng.random() < 0.3,
    )
    if policy == "continue":
        script = Script(words=script.words, delay_ms=script.delay_ms, first_delay_ms=script.first_delay_ms)
    return {
        "model": model,
        "policy": policy,
        "script": script,
        "point": rng.uniform(0, 0.6),
        # The upstream's id may not have been stored yet.
        "allowed": allowed(model, policy) | {"completed"} | ({"interrupted"} if policy == "auto" else set()),
    }


async def kill(rig: Rig, trials: Sequence[Trial], victim: Member, heir: Member) -> None:
    """Kill a worker and let its heir go to work."""
    died_ms = stage.now_ms()
    await victim.kill()
    heir.thaw()
    rig.succeed(heir)
    states = await stage.states(rig.redis, trials)
    for trial, state in zip(trials, states, strict=True):
        if not stage.ended(state):
            trial.died_ms = died_ms


async def run_entry(rig: Rig, trials: Sequence[Trial]) -> None:
    """Bring every stream to its point, then kill the worker of all."""
    victim, heir = await rig.worker(), await rig.standby()
    await stage.begin(rig, trials)
    reattachable = [trial for trial in trials if trial.case.model in BACKGROUND]
    await stage.until(rig, reattachable, lambda state: bool(state.get("upstream_id")), STARTED_S)
    await stage.quiet(rig, trials)
    await kill(rig, trials, victim, heir)
    await stage.settle(rig, trials)


async def run_flow(rig: Rig, trials: Sequence[Trial]) -> None:
    """Kill the worker at a moment that the first case names."""
    victim, heir = await rig.worker(), await rig.standby()
    await stage.begin(rig, trials)
    await asyncio.sleep(trials[0].case.point)
    await kill(rig, trials, victim, heir)
    await stage.settle(rig, trials)


AT_ENTRY = Family("worker-killed-at-entry", 312, 52, draw_entry, run_entry, on=TOPOLOGIES)
AT_SERVER = Family("worker-killed-at-server", 104, 52, draw_server, run_entry)
IN_FLOW = Family("worker-killed-in-flow", 180, 45, draw_flow, run_flow, on=TOPOLOGIES)
# Every worker of theirs imports Gemini's SDK, which costs the sample of the tests too much.
AT_GEMINI = Family("worker-killed-at-gemini", 104, 52, draw_gemini, run_entry, in_sample=False)
IN_GEMINI_FLOW = Family("worker-killed-in-gemini-flow", 60, 30, draw_gemini_flow, run_flow, in_sample=False)
FAMILIES = (AT_ENTRY, AT_SERVER, IN_FLOW, AT_GEMINI, IN_GEMINI_FLOW)
