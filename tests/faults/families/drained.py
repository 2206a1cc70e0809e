"""SIGTERM: a worker drains, a broker lets its tails go. And a broker is killed."""

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.families.worker_killed import COMBINATIONS
from tests.faults.family import Family
from tests.faults.rig import SETTINGS, Rig
from tests.faults.trial import MODELS, RESPONSES, Trial
from tests.topology import TOPOLOGIES

DRAIN_S = float(str(SETTINGS["DRAIN_S"]))
DRAIN_MARGIN_S = 2.0
SHORT_S = 0.5
"""What the longest of the short answers takes at the provider; what is left of the drain may be lost to other loads."""
BROKER_GONE_S = 3.0
BEFORE_S = 0.4
CALLED_S = 6.0


def draw_worker(rng: random.Random, number: int) -> dict[str, Any]:
    """Let a third of the answers be short enough to finish, the others far too long."""
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    short = number // len(COMBINATIONS) % 3 == 0
    script = (
        Script(words=rng.randint(10, 25), delay_ms=20) if short else Script(words=200, delay_ms=rng.uniform(40, 50))
    )
    handed_over = model == RESPONSES and policy == "auto"
    truth = {"completed"} if short or handed_over else {"interrupted"}
    if policy in ("continue", "restart"):
        truth |= {"completed"}
    return {"model": model, "policy": policy, "script": script, "point": "short" if short else "long", "allowed": truth}


async def run_worker(rig: Rig, trials: Sequence[Trial]) -> None:
    """Tell a worker to go while it is at work."""
    victim, heir = await rig.worker(), await rig.standby()
    await stage.begin(rig, trials)
    # A stream that nobody has called a provider for yet is handed over, and completes: those are not meant here.
    await stage.until(rig, trials, lambda state: state.get("intent", "0") != "0" or stage.ended(state), CALLED_S)
    heir.thaw()
    began_s, before = time.monotonic(), rig.starved_ms()
    victim.signal(signal.SIGTERM)
    code = await victim.gone()
    took_s = time.monotonic() - began_s
    starved_s = rig.starved_since(before) / 1000
    rig.succeed(heir)
    await stage.settle(rig, trials)
    for trial in trials:
        trial.latency_ms = took_s * 1000
        if starved_s > DRAIN_S - SHORT_S:  # no CPU for even a short answer: the worker says so, and keeps what it has
            trial.case = replace(trial.case, allowed=trial.case.allowed | {"interrupted"})
        if code or took_s > DRAIN_S + DRAIN_MARGIN_S + starved_s:
            trial.breaks(f"the worker was gone after {took_s:.1f} s with code {code}")


def draw_broker(rng: random.Random, number: int) -> dict[str, Any]:
    """Stop the broker in the midst of an answer."""
    return {
        "model": MODELS[number % len(MODELS)],
        "script": Script(words=rng.randint(20, 70), delay_ms=rng.uniform(20, 45), unicode=True),
        "point": f"{number // 40 % 2}",
    }


async def run_broker_drained(rig: Rig, trials: Sequence[Trial]) -> None:
    """Tell a broker to go while tails are open, and start it again."""
    at = int(trials[0].case.point)
    await rig.worker()
    await stage.begin(rig, trials, readers=3)
    await asyncio.sleep(BEFORE_S)
    began_s, before = time.monotonic(), rig.starved_ms()
    rig.brokers[at].signal(signal.SIGTERM)
    await rig.brokers[at].gone()
    took_s = time.monotonic() - began_s
    starved_s = rig.starved_since(before) / 1000
    await rig.start_broker(at)
    await stage.settle(rig, trials)
    for trial in trials:
        trial.latency_ms = took_s * 1000
        if took_s > BROKER_GONE_S + starved_s:
            trial.breaks(f"the broker was gone after {took_s:.1f} s")


async def run_broker_killed(rig: Rig, trials: Sequence[Trial]) -> None:
    """Kill a broker while tails are open, and start it again."""
    at = int(trials[0].case.point)
    await rig.worker()
    await stage.begin(rig, trials, readers=3)
    await asyncio.sleep(BEFORE_S)
    await rig.brokers[at].kill()
    await rig.start_broker(at)
    await stage.settle(rig, trials)


FAMILIES = (
    Family("worker-drained", 72, 36, draw_worker, run_worker, on=TOPOLOGIES),
    Family("broker-drained", 80, 40, draw_broker, run_broker_drained, on=TOPOLOGIES),
    Family("broker-killed", 80, 40, draw_broker, run_broker_killed, on=TOPOLOGIES),
)
