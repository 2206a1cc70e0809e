"""Cancel against everything: against finish, a silent provider, the queue, a dead worker, a lost message."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.families.worker_killed import kill
from tests.faults.family import Family
from tests.faults.rig import Rig
from tests.faults.trial import MODELS, Trial

MOST_MS = 3_000
"""What is held against a cancel; the table tells what it took, which on a loaded machine is the machine's."""
CONNECTED_S = 0.4
OPEN = "open"


def draw_finish(rng: random.Random, number: int) -> dict[str, Any]:
    """Cancel at a moment around the end. Cancel/One."""
    words, delay_ms = rng.randint(3, 30), rng.uniform(1, 15)
    script = Script(words=words, delay_ms=delay_ms)
    at_s = rng.uniform(0, 0.3) + rng.uniform(0.2, 1.4) * words * (delay_ms + 1.5) / 1000
    return {"model": MODELS[number % 3], "script": script, "point": at_s, "allowed": {"completed", "cancelled"}}


def draw_silent(rng: random.Random, number: int) -> dict[str, Any]:
    """Cancel while the provider says nothing: before its first word, or in mid-stream."""
    if number % 2:
        script = Script(words=5, first_delay_ms=30_000)
    else:
        script = Script(words=20, delay_ms=2, fail="stall", fail_at=rng.randint(1, 15))
    return {"model": MODELS[number % 3], "script": script, "point": rng.uniform(0.8, 1.8), "allowed": {"cancelled"}}


def draw_early(_: random.Random, number: int) -> dict[str, Any]:
    """Cancel before anybody produces."""
    return {"model": MODELS[number % 3], "script": Script(words=5), "point": 0.0, "allowed": {"cancelled"}}


def draw_lost(rng: random.Random, number: int) -> dict[str, Any]:
    """Cancel a stream whose worker is dead, or does not hear."""
    script = Script(words=100, delay_ms=50)
    allowed = {"cancelled"}
    return {"model": MODELS[number % 3], "script": script, "point": rng.uniform(0.5, 0.9), "allowed": allowed}


async def run(rig: Rig, trials: Sequence[Trial]) -> None:
    """Cancel each stream at its own moment."""
    await rig.worker()
    await stage.begin(rig, trials)
    cancelled_ms = await asyncio.gather(*(_cancel(rig, trial, trial.case.point) for trial in trials))
    await stage.settle(rig, trials)
    await _judge(rig, trials, cancelled_ms)


async def run_queued(rig: Rig, trials: Sequence[Trial]) -> None:
    """Cancel while no worker takes anything."""
    worker = await rig.worker()
    worker.freeze()
    try:
        await stage.begin(rig, trials)
        await asyncio.sleep(CONNECTED_S)
        cancelled_ms = await asyncio.gather(*(_cancel(rig, trial, 0) for trial in trials))
        await stage.until(rig, trials, stage.ended, 5)
    finally:
        worker.thaw()
    await stage.settle(rig, trials)
    await _judge(rig, trials, cancelled_ms)
    for trial in trials:
        if trial.calls:
            trial.breaks("I4 paid once: a stream that was cancelled in the queue was paid for")


async def run_unheard(rig: Rig, trials: Sequence[Trial]) -> None:
    """Cancel while the worker's connections are cut, so that the message may be lost."""
    worker = await rig.worker()
    await stage.begin(rig, trials)
    await asyncio.sleep(trials[0].case.point)
    worker.proxy.cut()
    cancelled_ms = await asyncio.gather(*(_cancel(rig, trial, 0) for trial in trials))
    await stage.settle(rig, trials)
    await _judge(rig, trials, cancelled_ms)


async def run_killed(rig: Rig, trials: Sequence[Trial]) -> None:
    """Cancel streams whose worker has just been killed."""
    victim, heir = await rig.worker(), await rig.standby()
    await stage.begin(rig, trials)
    await stage.until(rig, trials, lambda state: state.get("status") == "running", 5)
    await asyncio.sleep(trials[0].case.point)
    await kill(rig, trials, victim, heir)
    await asyncio.gather(*(_cancel(rig, trial, 0) for trial in trials))
    await stage.settle(rig, trials)


async def _cancel(rig: Rig, trial: Trial, after_s: float) -> float:
    """Cancel a stream and return when that was called."""
    await asyncio.sleep(after_s)
    called_ms = stage.now_ms()
    url = rig.random.choice(rig.urls)
    answer = await rig.http.post(f"{url}/v1/streams/{trial.stream_id}/cancel")
    if answer.status_code != 202:
        trial.breaks(f"cancel was answered by {answer.status_code}: {answer.text}")
    return called_ms


async def _judge(rig: Rig, trials: Sequence[Trial], called_ms: Sequence[float]) -> None:
    until_s = time.monotonic() + MOST_MS / 1000
    while _are_read(trials) and time.monotonic() < until_s:  # a busy provider hears late that a connection is closed
        await asyncio.sleep(stage.POLL_S)
        await stage.note_calls(rig, trials)
    for trial, called in zip(trials, called_ms, strict=True):
        if trial.outcome != "cancelled":
            continue
        trial.latency_ms = float(trial.state["ended_ms"]) - called
        if trial.latency_ms > MOST_MS:
            trial.breaks(f"the cancel took {trial.latency_ms:.0f} ms")
        if _are_read([trial]):
            trial.breaks("the provider is still being read after a cancel")


def _are_read(trials: Sequence[Trial]) -> bool:
    return any(call["connection"] == OPEN for trial in trials for call in trial.calls)


FAMILIES = (
    Family("cancel-against-finish", 150, 25, draw_finish, run),
    Family("cancel-silent-provider", 80, 20, draw_silent, run),
    Family("cancel-queued", 40, 20, draw_early, run_queued),
    Family("cancel-unheard", 40, 20, draw_lost, run_unheard),
    Family("cancel-worker-killed", 40, 20, draw_lost, run_killed),
)
