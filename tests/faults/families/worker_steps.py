"""A worker is killed at a step of the protocol: a command of its own is held, or the answer to it, and then it dies."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from midstream.access.ids import OPEN_SECRET, derived_id
from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.families.worker_killed import COMBINATIONS, allowed, kill
from tests.faults.family import Family
from tests.faults.proxy import Action, Command, runs
from tests.faults.rig import Rig
from tests.faults.trial import RESPONSES, Trial

REACHED_S = 6.0
FIRST_WORDS = 4


class Step(NamedTuple):
    """Where a worker is stopped: at the nth command of a kind, before it is sent or before it is answered."""

    name: str
    script: str
    action: Action
    nth: int = 1
    word: bytes = b""


STEPS = (
    Step("before the claim", "claim", "hold"),
    Step("after the claim", "claim", "hold_reply"),
    Step("before the intent", "renew", "hold", word=b"intent"),
    Step("after the intent, before the call", "renew", "hold_reply", word=b"intent"),
    Step("after the call, before the upstream's id", "renew", "hold", word=b"upstream_id"),
    Step("after the upstream's id", "renew", "hold_reply", word=b"upstream_id"),
    Step("before the first append", "append", "hold"),
    Step("after the first append", "append", "hold_reply"),
    Step("before a later append", "append", "hold", nth=FIRST_WORDS),
    Step("after a later append", "append", "hold_reply", nth=FIRST_WORDS),
    Step("before the seal", "seal", "hold"),
    Step("after the seal", "seal", "hold_reply"),
)
NEVER_CALLED = STEPS[:3]
WITHOUT_ID = STEPS[3:5]


def meant(step: Step, stream_id: str) -> Callable[[Command], bool]:
    """Return the condition that finds the step's command."""
    condition = runs(step.script, stream_id, *([step.word] if step.word else []))
    if step.word == b"upstream_id":  # the intent forgets the id of an earlier call: that is another step
        return lambda command: condition(command) and b"intent" not in command
    return condition


def draw(_: random.Random, number: int) -> dict[str, Any]:
    """Go through all steps, dialects and policies."""
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    step = STEPS[number // len(COMBINATIONS) % len(STEPS)]
    if step.word == b"upstream_id" and model != RESPONSES:
        step = STEPS[6 + number % 6]  # there is no id that could be stored
    if step in NEVER_CALLED or step.name == "after the seal":
        truth = {"completed"}
    elif step in WITHOUT_ID and policy == "auto":
        truth = {"interrupted"}
    else:
        truth = allowed(model, policy)
    return {"model": model, "policy": policy, "script": Script(words=12, delay_ms=30), "point": step, "allowed": truth}


async def run(rig: Rig, trials: Sequence[Trial]) -> None:
    """Hold every stream at its step, then kill the worker of all."""
    victim, heir = await rig.worker(), await rig.standby()
    rules = []
    for trial in trials:
        step, stream_id = trial.case.point, derived_id(OPEN_SECRET, "key", "default", trial.case.tag)
        rules.append(victim.proxy.rule(meant(step, stream_id), step.action, nth=step.nth, once=False))
    await stage.begin(rig, trials)
    reached = [asyncio.create_task(rule.reached.wait()) for rule in rules]
    _, late = await asyncio.wait(reached, timeout=REACHED_S)
    for trial, waiting in zip(trials, reached, strict=True):
        if waiting in late:  # on a slow machine an answer may take fewer appends than the step counts
            waiting.cancel()
            trial.case = replace(trial.case, allowed=trial.case.allowed | {"completed"})
    await kill(rig, trials, victim, heir)
    await stage.settle(rig, trials)


FAMILIES = (Family("worker-killed-at-step", 144, 36, draw, run),)
