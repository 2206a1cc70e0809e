"""A program of a user's own produces by a broker, with `midstream.produce` or as one in another language does."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from midstream.testing.provider.script import Script
from tests.faults import producing
from tests.faults.families import own_producers
from tests.faults.families.own_producers import MODEL, VOLLEY, by_broker, by_http
from tests.faults.families.worker_steps import Step
from tests.faults.family import Family, Run
from tests.faults.proxy import Proxy
from tests.faults.requests_cut import Requests, asks
from tests.faults.rig import LEASE_MS, Rig
from tests.faults.trial import Trial
from tests.servers import free_port

SAMPLED = ("http-producer-cut", "producer-by-broker-killed", "producer-by-broker-broker-lost")
AT_STEP = 12
APPENDS = 12
SILENCE_MS = LEASE_MS * 1.5
"""A pause that a producer survives only because it renews its lease."""

STEPS = (
    Step(own_producers.NOT_BEGUN, "start", "hold"),
    Step("after the start", "start", "hold_reply"),
    *(Step(f"before append {nth}", "entries", "hold", nth) for nth in (1, 2, 7)),
    *(Step(f"after append {nth}", "entries", "hold_reply", nth) for nth in (1, 2, 7)),
    Step("before a renewal", "lease", "hold"),
    Step("before the seal", "seal", "hold"),
    Step("after the seal", "seal", "hold_reply"),
)
CUTS = tuple(
    Step(f"{action} {what} {nth}", what, action, nth)
    for what, nth in (
        *(("entries", nth) for nth in range(1, APPENDS + 1)),
        *(("start", 1), ("lease", 1), ("lease", 3), ("seal", 1)),
    )
    for action in own_producers.LOSSES
)


def draw_killed(_: random.Random, number: int) -> dict[str, Any]:
    """Go through all steps; another process takes up the same keys."""
    step = STEPS[number // AT_STEP % len(STEPS)]
    whole = {own_producers.NOT_BEGUN, "after the seal"}  # there is no stream yet, or nothing is left to do
    script = Script(words=12, delay_ms=30, first_delay_ms=SILENCE_MS if step.script == "lease" else 0)
    allowed = {"completed"} if step.name in whole else {"interrupted"}
    return {"model": MODEL, "script": script, "point": step, "allowed": allowed}


def draw_cut(rng: random.Random, number: int) -> dict[str, Any]:
    """Break the connection at every append, and at each other request; every second program is silent at first."""
    step = CUTS[number % len(CUTS)]
    silence_ms = SILENCE_MS if step.script == "lease" or number // len(CUTS) % 2 else 0
    script = Script(words=APPENDS + 2, delay_ms=rng.uniform(20, 30), first_delay_ms=silence_ms)
    return {"model": MODEL, "script": script, "point": step}


@asynccontextmanager
async def proxied(rig: Rig) -> AsyncIterator[Proxy]:
    """Stand between producers and the first broker."""
    proxy = await Proxy(free_port(), rig.broker_ports[0], Requests).open()
    try:
        yield proxy
    finally:
        await proxy.close()


def at(proxy: Proxy, *how: str) -> tuple[str, ...]:
    """Return the further arguments of `producing` that lead through a proxy."""
    return (f"http://127.0.0.1:{proxy.port}", *how)


async def run_killed(rig: Rig, trials: Sequence[Trial]) -> None:
    """Hold a request of every stream, or its answer, kill the program, and let another one begin with the same keys."""
    victim = await own_producers.producer_of(rig, trials)
    async with proxied(rig) as proxy:
        rules = []
        for trial in trials:
            step = trial.case.point
            rules.append(proxy.rule(asks(step.script, trial), step.action, nth=step.nth, once=False))
        where, heirs = at(proxy, producing.RAW), (rig.urls[1], producing.RAW)
        await own_producers.kill_held(rig, trials, victim, rules, where, heirs)


async def run_cut(rig: Rig, trials: Sequence[Trial], *how: str) -> None:
    """Break the connection of each stream's producer once, before a request of it or instead of the answer."""
    producer = await own_producers.producer_of(rig, trials)
    async with proxied(rig) as proxy:
        for trial in trials:
            step = trial.case.point
            proxy.rule(asks(step.script, trial), step.action, nth=step.nth)
        await own_producers.begin(producer, trials, *at(proxy, *how))
        await own_producers.read(rig, trials)
        await own_producers.settle(rig, trials, producer)


def _families(name: str, how: own_producers.How, words: Sequence[str]) -> list[Family]:
    own = own_producers
    families = [
        Family("cut", 64, 32, draw_cut, partial(_run_cut_by, words)),
        Family("frozen", 144, VOLLEY, own.draw_frozen, partial(own.run_frozen, how=how)),
        Family("doubled", 40, 20, own.draw_doubled, partial(own.run_doubled, how=how)),
        Family("cancelled", 80, 40, own.draw_cancelled, partial(own.run_cancelled, how=how)),
        Family("redis-killed", 108, VOLLEY, own.draw_server_killed, partial(own.run_server_killed, how=how)),
        Family("killed", 72, 24, own.draw_by_broker, partial(own.run_by_broker_killed, how=how)),
        Family("broker-lost", 72, 24, own.draw_by_broker, partial(own.run_broker_killed, how=how)),
    ]
    named = [replace(family, name=f"{name}-{family.name}", run=_forgiving(family.run)) for family in families]
    return [replace(family, in_sample=family.name in SAMPLED) for family in named]


def _forgiving(run: Run) -> Run:
    """Return a run that forgives a lost lease where the processes waited for a CPU for longer than a lease.

    By HTTP the program's own requests renew its lease, and no thread of midstream's does.
    """

    async def run_and_forgive(rig: Rig, trials: Sequence[Trial]) -> None:
        before = rig.starved_ms()
        await run(rig, trials)
        if rig.starved_since(before) > LEASE_MS:
            for trial in trials:
                trial.case = replace(trial.case, allowed=trial.case.allowed | {"interrupted"})

    return run_and_forgive


async def _run_cut_by(words: Sequence[str], rig: Rig, trials: Sequence[Trial]) -> None:
    await run_cut(rig, trials, *words)


FAMILIES = (
    Family("http-producer-killed-at-step", len(STEPS) * AT_STEP, AT_STEP, draw_killed, run_killed),
    *_families("http-producer", by_http, (producing.RAW,)),
    *_families("producer-by-broker", by_broker, ()),
)
