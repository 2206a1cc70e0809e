"""The power of the server is cut: what it had not made sure of with fsync is gone (PROTOCOL: Intent/Power).

With `appendfsync always` nothing may come of it: no answer is given before the disk has what it speaks of. With
`everysec` the last two seconds may be lost (one between two fsyncs, one for a slow disk), and nothing older. Then a
stream that was begun in that time may be unknown, an end that was seen may not have been, and a call that was made in
it may be made again.
"""

import asyncio
import itertools
import random
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.families.worker_killed import COMBINATIONS, allowed
from tests.faults.family import Family
from tests.faults.power import MainsServer, available
from tests.faults.rig import Rig
from tests.faults.trial import Trial

VOLLEY = 36
FORGOTTEN_S = 2.0


class Loss(NamedTuple):
    """What loses power, and when.

    Attributes:
        with_worker: The worker runs on the same machine, and dies with the server.
        rewriting: The server was rewriting its append-only file.
        early_s: How long the first streams have run when the last ones are begun.
        late_s: How long those have run.
    """

    with_worker: bool
    rewriting: bool
    early_s: float
    late_s: float


def draw(rng: random.Random, number: int) -> dict[str, Any]:
    """Answers that the loss hits at any moment: at a claim, an intent, an append, a seal, after the end."""
    model, policy = COMBINATIONS[number % len(COMBINATIONS)]
    with_worker, rewriting = tuple(itertools.product((True, False), repeat=2))[number // VOLLEY % 4]
    truth = {"completed"}
    if with_worker:  # an id of the provider's may not have been stored yet
        truth |= allowed(model, policy) | ({"interrupted"} if policy == "auto" else set())
    return {
        "model": model,
        "policy": policy,
        "script": Script(words=rng.randint(1, 80), delay_ms=rng.uniform(1, 25)),
        "point": Loss(with_worker, rewriting, rng.uniform(0.02, 0.4), rng.uniform(0.01, 0.15)),
        "allowed": truth,
    }


def draw_everysec(rng: random.Random, number: int) -> dict[str, Any]:
    """Answers of up to four seconds, which the loss hits some two seconds after their beginning."""
    drawn = draw(rng, number)
    script = Script(words=rng.randint(1, 150), delay_ms=rng.uniform(5, 25))
    return drawn | {"script": script, "allowed": {"completed", "interrupted"}}


async def run(rig: Rig, trials: Sequence[Trial]) -> None:
    """Cut the power; every client finds again what it was sent."""
    await rig.worker()
    loss, (early, late) = trials[0].case.point, _parted(trials)
    await stage.begin(rig, early)
    await asyncio.sleep(loss.early_s)
    await _lose(rig, loss, late)
    await stage.settle(rig, trials)
    for trial in trials:
        for reader in trial.readers:
            if reader.resets:
                trial.breaks(f"a client was told {reader.resets}, though nothing may be lost")


async def run_everysec(rig: Rig, trials: Sequence[Trial]) -> None:
    """Cut the power; everything older than the time that may be lost is there again."""
    await rig.worker()
    loss, (early, late) = trials[0].case.point, _parted(trials)
    await stage.begin(rig, early)
    await asyncio.sleep(loss.early_s)
    since_ms, old = stage.now_ms(), await stage.states(rig.redis, early)
    await asyncio.sleep(FORGOTTEN_S - loss.late_s)
    states_after = await _lose(rig, loss, late, early)
    forgotten = (since_ms, stage.now_ms())
    for trial, before, after in zip(early, old, states_after, strict=True):
        shrunk = [
            name for name in ("epoch", "intent", "tail") if int(after.get(name) or 0) < int(before.get(name) or 0)
        ]
        if shrunk or before.get("outcome", "") not in ("", after.get("outcome")):
            trial.breaks(f"of {before}, which was {FORGOTTEN_S:.0f} s old, the server found {after}")
        if not before.get("outcome"):  # who has seen an end asks no more, and cannot be told that it never was
            trial.readers = [reader for reader in trial.readers if not reader.over]
    await stage.settle(rig, trials)
    for trial in trials:
        trial.forgotten = forgotten
    for trial in late:
        trial.gone = not trial.state


def _parted(trials: Sequence[Trial]) -> tuple[Sequence[Trial], Sequence[Trial]]:
    """Return two thirds that are begun early, and a third that is just about to begin when the power goes."""
    return trials[len(trials) // 3 :], trials[: len(trials) // 3]


async def _lose(rig: Rig, loss: Loss, late: Sequence[Trial], watched: Sequence[Trial] = ()) -> list[dict[str, str]]:
    """Begin the late streams, cut the power, and switch it on again; return the states that the server found."""
    assert isinstance(rig.server, MainsServer)
    beginning = asyncio.create_task(stage.begin(rig, late))
    await asyncio.sleep(loss.late_s)
    if loss.rewriting:
        await rig.redis.execute_command("BGREWRITEAOF")  # type: ignore[no-untyped-call]
    worker = await rig.worker()
    await asyncio.to_thread(rig.server.lose_power)
    if loss.with_worker:
        await worker.kill()
    await asyncio.to_thread(rig.server.start)
    await rig.redis.connection_pool.disconnect()  # these are of the server that is gone, and may not know it yet
    states_after = await stage.states(rig.redis, watched)
    await rig.load_scripts()
    await rig.worker()
    await beginning
    return states_after


ALWAYS = partial(MainsServer, appendfsync="always")
EVERYSEC = partial(MainsServer, appendfsync="everysec")
FAMILIES = (
    Family("power-loss", 288, VOLLEY, draw, run, {"durable_intent": True}, ALWAYS, available=available),
    Family("power-loss-everysec", 144, VOLLEY, draw_everysec, run_everysec, {}, EVERYSEC, available=available),
)
