"""A program of a user's own produces, and is killed, frozen, doubled, cut off or cancelled.

It does so by Redis, or by a broker; `http_producers.py` has what only befalls a way by HTTP.
"""

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from midstream.access.ids import OPEN_SECRET, derived_id
from midstream.testing.provider.script import Script
from tests.faults import producing, stage
from tests.faults.families.worker_steps import Step, meant
from tests.faults.family import Family
from tests.faults.members import Member
from tests.faults.proxy import Action, Rule, runs
from tests.faults.rig import LEASE_MS, Rig
from tests.faults.trial import Trial

MODEL = "external/producer"
VOLLEY = 36
AT_STEP = 12
FREEZES_MS = (300, 900, 1_300, 2_500)
SHORT_MS = 500
THERE_S = 20.0
REACHED_S = 1.0
"""Shorter than the time-out of a command: what was held is not tried again before the kill."""
AFTER_S = 0.8
APPENDS = 12
CALLED = re.compile(r"^called (\S+) (\d+)$", re.MULTILINE)

NOT_BEGUN = "before the start"
"""The step at which there is no stream yet."""

STEPS = (
    Step("before the claim", "claim", "hold"),
    Step("after the claim", "claim", "hold_reply"),
    *(Step(f"before append {nth}", "append", "hold", nth) for nth in (1, 2, 7)),
    *(Step(f"after append {nth}", "append", "hold_reply", nth) for nth in (1, 2, 7)),
    Step("before the seal", "seal", "hold"),
    Step("after the seal", "seal", "hold_reply"),
)
LOSSES: tuple[Action, ...] = ("drop_reply", "cut")
LOST = tuple(
    Step(f"{action} {script} {nth}", script, action, nth)
    for script, nth in (*(("append", nth) for nth in range(1, APPENDS + 1)), ("create", 1), ("claim", 1), ("seal", 1))
    for action in LOSSES
)


def draw_killed(_: random.Random, number: int) -> dict[str, Any]:
    """Go through all steps; another process takes up the same keys."""
    step = STEPS[number // AT_STEP % len(STEPS)]  # a volley is held at one step
    allowed = {"completed", "interrupted"} if step.script == "claim" and step.action == "hold" else {"interrupted"}
    if step.name == "after the seal":
        allowed = {"completed"}
    return {"model": MODEL, "script": Script(words=12, delay_ms=30), "point": step, "allowed": allowed}


def draw_frozen(rng: random.Random, number: int) -> dict[str, Any]:
    """Freeze in the midst of an answer."""
    freeze_ms = FREEZES_MS[number // VOLLEY % len(FREEZES_MS)]
    allowed = {"completed"} if freeze_ms < SHORT_MS else {"completed", "interrupted"}
    script = Script(words=rng.randint(20, 60), delay_ms=rng.uniform(25, 40))
    return {"model": MODEL, "script": script, "point": freeze_ms, "allowed": allowed}


def draw_lost(rng: random.Random, number: int) -> dict[str, Any]:
    """Lose one command or its answer, at every append."""
    script = Script(words=APPENDS + 4, delay_ms=rng.uniform(20, 30))
    return {"model": MODEL, "script": script, "point": LOST[number % len(LOST)]}


def draw_doubled(rng: random.Random, _: int) -> dict[str, Any]:
    """Two processes produce the same answers."""
    return {"model": MODEL, "script": Script(words=rng.randint(3, 15), delay_ms=rng.uniform(0, 10)), "point": "doubled"}


def draw_cancelled(rng: random.Random, _: int) -> dict[str, Any]:
    """Cancel at a moment around the end. Cancel/One."""
    words, delay_ms = rng.randint(20, 60), rng.uniform(8, 20)
    at_s = rng.uniform(0, 1.2) * words * (delay_ms + 1.5) / 1000
    script = Script(words=words, delay_ms=delay_ms)
    return {"model": MODEL, "script": script, "point": at_s, "allowed": {"completed", "cancelled"}}


def draw_server_killed(rng: random.Random, number: int) -> dict[str, Any]:
    """Kill the server for a while."""
    script = Script(words=rng.randint(20, 60), delay_ms=rng.uniform(10, 25))
    return {"model": MODEL, "script": script, "point": (0.0, 0.3, 1.2)[number // VOLLEY % 3]}


def draw_by_broker(rng: random.Random, _: int) -> dict[str, Any]:
    """Draw a moment in the answer; one whose lease runs out meanwhile may end, and no other way."""
    script = Script(words=rng.randint(20, 60), delay_ms=rng.uniform(15, 30))
    return {"model": MODEL, "script": script, "point": rng.uniform(0, 0.8), "allowed": {"completed", "interrupted"}}


How = Callable[[Rig], tuple[str, ...]]
"""Returns the further arguments of `producing`."""


def by_redis(_: Rig) -> tuple[str, ...]:
    """Produce by Redis."""
    return ()


def by_broker(rig: Rig) -> tuple[str, ...]:
    """Produce by a broker, with `midstream.produce`."""
    return (rig.urls[0],)


def by_http(rig: Rig) -> tuple[str, ...]:
    """Produce by a broker, as a program in another language does."""
    return (rig.urls[0], producing.RAW)


async def producer_of(rig: Rig, trials: Sequence[Trial]) -> Member:
    """Return a program that is about to produce all cases, and have clients wait for their streams."""
    for trial in trials:
        trial.stream_id = derived_id(OPEN_SECRET, "key", "default", trial.case.tag)
    return await rig.member("producer")


async def begin(producer: Member, trials: Sequence[Trial], *where: str) -> None:
    """Have a program begin all cases: by Redis, or where the further arguments of `producing` say."""
    plan = producing.plan([(trial.case.tag, trial.case.script) for trial in trials])
    await producer.start(producing.BEGUN, "producing", plan, *where)


async def read(rig: Rig, trials: Sequence[Trial]) -> None:
    """Have clients read all streams that are there by now."""
    await stage.until(rig, trials, lambda state: bool(state.get("status")), THERE_S)
    for trial in trials:
        stage.read(rig, trial)


async def settle(rig: Rig, trials: Sequence[Trial], *producers: Member) -> None:
    """Wait for all ends, and enter the programs' own books."""
    await stage.settle(rig, trials)
    for producer in producers:
        for key, at_ms in CALLED.findall(producer.log()):
            for trial in trials:
                if trial.case.tag == key:
                    trial.calls.append({"at_ms": int(at_ms)})
        await producer.kill()
    for trial in trials:
        if trial.state.get("epoch") == "0" and not trial.calls:  # its claim never came: no producer has had it
            trial.case = replace(trial.case, allowed=trial.case.allowed | {"interrupted"})


async def run_killed(rig: Rig, trials: Sequence[Trial]) -> None:
    """Hold every stream at its step, kill its program, and let another one begin with the same keys."""
    victim = await producer_of(rig, trials)
    rules = []
    for trial in trials:
        step = trial.case.point
        rules.append(victim.proxy.rule(meant(step, trial.stream_id), step.action, nth=step.nth, once=False))
    await kill_held(rig, trials, victim, rules)


async def kill_held(
    rig: Rig,
    trials: Sequence[Trial],
    victim: Member,
    rules: Sequence[Rule],
    where: Sequence[str] = (),
    heirs: Sequence[str] = (),
) -> None:
    """Have a program begin, wait until rules hold it, kill it, and let another one begin; both as arguments say."""
    await begin(victim, trials, *where)
    has_begun = trials[0].case.point.name != NOT_BEGUN
    if has_begun:
        await read(rig, trials)
    reached = [asyncio.create_task(rule.reached.wait()) for rule in rules]
    _, late = await asyncio.wait(reached, timeout=REACHED_S)
    for trial, waiting in zip(trials, reached, strict=True):
        if waiting in late:  # appends leave together, so one that is held keeps others back
            waiting.cancel()
            trial.case = replace(trial.case, allowed=trial.case.allowed | {"completed", "interrupted"})
    died_ms = stage.now_ms()
    await victim.kill()
    for trial, state in zip(trials, await stage.states(rig.redis, trials), strict=True):
        if state and not stage.ended(state) and state.get("status") != "queued":
            trial.died_ms = died_ms
    heir = await rig.member("heir")
    await begin(heir, trials, *heirs)
    if not has_begun:
        await read(rig, trials)
    await settle(rig, trials, victim, heir)


async def run_frozen(rig: Rig, trials: Sequence[Trial], how: How = by_redis) -> None:
    """Freeze the program of all streams, and wake it: nothing may come after an end."""
    victim = await producer_of(rig, trials)
    freeze_ms = trials[0].case.point
    await begin(victim, trials, *how(rig))
    await read(rig, trials)
    await asyncio.sleep(0.3)
    victim.freeze()
    if freeze_ms > LEASE_MS * 2:
        for trial in trials:
            trial.died_ms = stage.now_ms()
    await asyncio.sleep(freeze_ms / 1000)
    victim.thaw()
    await stage.settle(rig, trials)
    await asyncio.sleep(AFTER_S)
    for trial in trials:
        if await stage.entries(rig.redis, trial.name) != trial.entries:
            trial.breaks("I6 fenced: the log has changed after its end")
    await settle(rig, trials, victim)


async def run_lost(rig: Rig, trials: Sequence[Trial]) -> None:
    """Lose one command of each stream, or the answer to it. Append/Ambiguous."""
    producer = await producer_of(rig, trials)
    for trial in trials:
        step = trial.case.point
        producer.proxy.rule(runs(step.script, trial.stream_id), step.action, nth=step.nth)
    await begin(producer, trials)
    await read(rig, trials)
    await settle(rig, trials, producer)


async def run_doubled(rig: Rig, trials: Sequence[Trial], how: How = by_redis) -> None:
    """Let two programs produce the same answers. Produce/Once."""
    first = await producer_of(rig, trials)
    second = await producer_of(rig, trials)
    await asyncio.gather(begin(first, trials, *how(rig)), begin(second, trials, *how(rig)))
    await read(rig, trials)
    await settle(rig, trials, first, second)


async def run_cancelled(rig: Rig, trials: Sequence[Trial], how: How = by_redis) -> None:
    """Cancel each stream at its own moment."""
    producer = await producer_of(rig, trials)
    await begin(producer, trials, *how(rig))
    await read(rig, trials)

    async def cancel(trial: Trial) -> None:
        await asyncio.sleep(trial.case.point)
        await rig.http.post(f"{rig.random.choice(rig.urls)}/v1/streams/{trial.stream_id}/cancel")

    await asyncio.gather(*map(cancel, trials))
    await settle(rig, trials, producer)


async def run_server_killed(rig: Rig, trials: Sequence[Trial], how: How = by_redis) -> None:
    """Kill the server in mid-stream and start it on the same data."""
    producer = await producer_of(rig, trials)
    await begin(producer, trials, *how(rig))
    await read(rig, trials)
    await asyncio.sleep(0.2)
    await asyncio.to_thread(rig.server.kill)
    await asyncio.sleep(trials[0].case.point)
    await asyncio.to_thread(rig.server.start)
    await rig.load_scripts()
    await settle(rig, trials, producer)


async def run_by_broker_killed(rig: Rig, trials: Sequence[Trial], how: How = by_broker) -> None:
    """Kill a program that produces by a broker, and let another one begin with the same keys."""
    victim = await producer_of(rig, trials)
    await begin(victim, trials, *how(rig))
    await read(rig, trials)
    await asyncio.sleep(trials[0].case.point)
    died_ms = stage.now_ms()
    await victim.kill()
    for trial, state in zip(trials, await stage.states(rig.redis, trials), strict=True):
        if not stage.ended(state):
            trial.died_ms = died_ms
    heir = await rig.member("heir")
    await begin(heir, trials, rig.urls[1], *how(rig)[1:])
    await settle(rig, trials, victim, heir)


async def run_broker_killed(rig: Rig, trials: Sequence[Trial], how: How = by_broker) -> None:
    """Kill the broker that programs produce by, and start it again."""
    producer = await producer_of(rig, trials)
    await begin(producer, trials, *how(rig))
    await read(rig, trials)
    await asyncio.sleep(trials[0].case.point)
    await rig.brokers[0].kill()
    await rig.start_broker(0)
    await settle(rig, trials, producer)


FAMILIES = (
    Family("producer-killed-at-step", len(STEPS) * AT_STEP, AT_STEP, draw_killed, run_killed),
    Family("producer-frozen", 144, VOLLEY, draw_frozen, run_frozen),
    Family("producer-command-lost", 90, 45, draw_lost, run_lost),
    Family("producer-doubled", 40, 20, draw_doubled, run_doubled),
    Family("producer-cancelled", 80, 40, draw_cancelled, run_cancelled),
    Family("producer-redis-killed", 108, VOLLEY, draw_server_killed, run_server_killed),
)
