"""A primary is killed, frozen or relieved, and its replica takes its place; slots move to other nodes. All under load.

PROTOCOL: Log/Failover, Log/Sentinel, Log/Moved.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from redis.crc import key_slot

from midstream.log.cluster import ClusterRedis
from midstream.log.connect import keys_of
from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.families.worker_killed import COMBINATIONS, allowed
from tests.faults.family import Family
from tests.faults.fleets import Fleet, lagging, primaries, wait_until_whole
from tests.faults.rig import Rig
from tests.faults.trial import Trial
from tests.servers import ValkeyProcess, wait_until
from tests.slots import can_move_at_once, move_at_once, move_key_by_key
from tests.topology import CLUSTER, SENTINEL, node_of

VOLLEY = 24
EARLY = 2 * VOLLEY // 3
"""So many streams of a volley run when it happens; the others are started while it does."""
LEASE_MS = 3_000
"""Longer than a failover takes: what is to be seen is the failover, and not what a lost worker is."""
AWAY_S = 2.5
"""After this time its replica has the place of a server."""
REPLACED, LAGS, BACK = AWAY = ("replaced", "replaced by one that lags", "back at once")
LAG_S = 0.5
FROZEN_S = (0.4, 2.5)
MOVES = ("key by key", "at once")
ENDS_S = 30.0
Fault = Callable[[Fleet, ValkeyProcess, Sequence[Trial]], Coroutine[Any, Any, None]]


def _draw(rng: random.Random, number: int, points: Sequence[Any]) -> dict[str, Any]:
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    script = Script(words=rng.randint(40, 70), delay_ms=rng.uniform(20, 35), unicode=policy != "continue")
    return {"model": model, "policy": policy, "script": script, "point": points[number // VOLLEY % len(points)]}


def draw_killed(rng: random.Random, number: int) -> dict[str, Any]:
    """Kill a primary; what its replica lacks may have been an intent."""
    drawn = _draw(rng, number, AWAY)
    truth = allowed(drawn["model"], drawn["policy"]) if drawn["point"] == LAGS else set()
    return drawn | {"allowed": {"completed"} | truth}


def draw_frozen(rng: random.Random, number: int) -> dict[str, Any]:
    """Freeze a primary, which wakes as what it was; what it is sent then may be lost."""
    drawn = _draw(rng, number, FROZEN_S)
    truth = allowed(drawn["model"], drawn["policy"]) if drawn["point"] == FROZEN_S[-1] else set()
    return drawn | {"allowed": {"completed"} | truth}


def draw_switched(rng: random.Random, number: int) -> dict[str, Any]:
    """Have a primary and its replica change places."""
    return _draw(rng, number, ("planned",))


def draw_moved(rng: random.Random, number: int) -> dict[str, Any]:
    """Move slots."""
    return _draw(rng, number, MOVES)


async def _kill(fleet: Fleet, victim: ValkeyProcess, trials: Sequence[Trial]) -> None:
    how, since_ms = trials[0].case.point, stage.now_ms()
    async with AsyncExitStack() as stack:
        if how == LAGS:
            stack.enter_context(lagging(fleet, victim))
            await asyncio.sleep(LAG_S)
        await asyncio.to_thread(victim.kill)
        if how == LAGS:
            _forget(trials, since_ms)
        await asyncio.sleep(0 if how == BACK else AWAY_S)
    await asyncio.to_thread(victim.start)


def _forget(trials: Sequence[Trial], since_ms: float) -> None:
    """Note that what a server has confirmed since a time may be lost. PROTOCOL: Log/Failover."""
    for trial in trials:
        trial.forgotten = since_ms, stage.now_ms()
        trial.ended_readers = [reader for reader in trial.readers if reader.over]


async def _freeze(fleet: Fleet, victim: ValkeyProcess, trials: Sequence[Trial]) -> None:
    since_ms = stage.now_ms()
    victim.freeze()
    try:
        await asyncio.sleep(trials[0].case.point)
    finally:
        victim.thaw()
    if trials[0].case.point == FROZEN_S[-1]:  # it takes what was on its way to it until it hears of its successor
        await asyncio.to_thread(wait_until, lambda: victim not in primaries(fleet), "it is still a primary")
        _forget(trials, since_ms)


async def _switch(fleet: Fleet, victim: ValkeyProcess, _: object) -> None:
    await asyncio.to_thread(fleet.switch, victim)


async def _fail_over(rig: Rig, trials: Sequence[Trial], fault: Fault) -> None:
    """Let a fault befall the primary that holds the first stream, and start further streams meanwhile."""
    fleet = rig.fleet
    assert fleet, "this is a family for servers with replicas"
    await rig.worker()
    await stage.begin(rig, trials[:EARLY])
    await asyncio.sleep(rig.random.uniform(0.4, 0.8))
    node = await node_of(rig.redis, keys_of(rig.redis, "ms").state(trials[0].name))
    place = node.connection_pool.connection_kwargs.get("port")
    leaders = await asyncio.to_thread(primaries, fleet)
    victim = next((each for each in leaders if each.port == place), leaders[0])
    happening = asyncio.create_task(fault(fleet, victim, trials))
    await stage.begin(rig, trials[EARLY:])
    await happening
    await _settle(rig, trials)
    await asyncio.to_thread(wait_until_whole, fleet)


async def _settle(rig: Rig, trials: Sequence[Trial]) -> None:
    await stage.settle(rig, trials, limit_s=ENDS_S)
    lost = [trial for trial in trials if not trial.state]
    for trial in trials:
        if trial.outcome != "completed" or len(trial.calls) > 1:  # an end was lost, and those who saw it ask no more
            trial.readers = [reader for reader in trial.readers if reader not in trial.ended_readers]
    for trial in lost:  # PROTOCOL: Log/Failover, a start that was answered may be unknown
        trial.gone = True
    resets = sum(len(reader.resets) for trial in trials for reader in trial.readers)
    ends = sum(trial.outcome != "completed" for trial in trials) - len(lost)
    trials[0].notes.append(f"{len(lost)} starts lost, {ends} not completed, {resets} clients were told reset")


async def run_killed(rig: Rig, trials: Sequence[Trial]) -> None:
    """Kill a primary, and start it again on its data."""
    await _fail_over(rig, trials, _kill)


async def run_frozen(rig: Rig, trials: Sequence[Trial]) -> None:
    """Freeze a primary: it wakes with all its connections, whether or not another one has its place."""
    await _fail_over(rig, trials, _freeze)


async def run_switched(rig: Rig, trials: Sequence[Trial]) -> None:
    """Let an operator change a primary and its replica."""
    await _fail_over(rig, trials, _switch)


async def run_moved(rig: Rig, trials: Sequence[Trial]) -> None:
    """Move the slots of two tenants, while their streams are started, written and read."""
    cluster = rig.redis
    assert isinstance(cluster, ClusterRedis), "this is a family for clusters"
    await rig.worker()
    await stage.begin(rig, trials[:EARLY])
    at_once = trials[0].case.point == MOVES[1] and await can_move_at_once(cluster)
    coming = asyncio.create_task(stage.begin(rig, trials[EARLY:]))
    for trial in trials[:2]:
        slot = key_slot(keys_of(cluster, "ms").state(trial.name).encode())
        await (move_at_once if at_once else move_key_by_key)(cluster, slot)
    await coming
    await _settle(rig, trials)


BOTH = (SENTINEL, CLUSTER)
OWN: dict[str, object] = {"lease_ms": LEASE_MS}
FAMILIES = (
    Family("primary-killed", 144, VOLLEY, draw_killed, run_killed, OWN, on=BOTH),
    Family("primary-frozen", 96, VOLLEY, draw_frozen, run_frozen, OWN, on=BOTH),
    Family("primary-switched", 96, VOLLEY, draw_switched, run_switched, OWN, on=BOTH),
    Family("slots-moved", 144, VOLLEY, draw_moved, run_moved, OWN, on=(CLUSTER,)),
)
