"""The job slip gets lost or comes twice; no worker is there for a while, or ever."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from arq.connections import ArqRedis

from midstream.lifecycle.slips import GENERATE, deserialize, serialize
from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.family import Family
from tests.faults.rig import Rig
from tests.faults.trial import MODELS, POLICIES, Trial

QUEUE = "ms:queue"
QUEUE_TIMEOUT_S = 2
LOST_S = 3.0
NOBODY_S = (1.0, 3.0)
COPIES = 5


def draw(rng: random.Random, number: int) -> dict[str, Any]:
    """Any answer: nothing happens to it once it has begun."""
    return {
        "model": MODELS[number % 3],
        "policy": POLICIES[number % 4],
        "script": Script(words=rng.randint(3, 20), delay_ms=rng.uniform(0, 10)),
        "point": NOBODY_S[number // 40 % 2],
    }


def draw_timeout(rng: random.Random, number: int) -> dict[str, Any]:
    """Any answer: it never begins."""
    return draw(rng, number) | {"allowed": {"failed"}}


async def run_lost(rig: Rig, trials: Sequence[Trial]) -> None:
    """Remove every slip before a worker sees it."""
    worker = await rig.worker()
    worker.freeze()
    await rig.redis.client_kill_filter(_type="pubsub")  # or it is told of the streams, and claims them
    await stage.begin(rig, trials)
    jobs = [key async for key in rig.redis.scan_iter("arq:job:*", count=1_000)]
    await rig.redis.delete(QUEUE, *jobs)
    lost_ms = stage.now_ms()
    worker.thaw()
    await stage.settle(rig, trials)
    for trial in trials:
        trial.latency_ms = float(trial.state.get("started_ms") or 0) - lost_ms
        if trial.latency_ms > LOST_S * 1000:
            trial.breaks(f"it was queued again after {trial.latency_ms:.0f} ms")


async def run_doubled(rig: Rig, trials: Sequence[Trial]) -> None:
    """Put every slip on the queue some times more, for two workers."""
    worker, other = await rig.worker(), await rig.standby()
    worker.freeze()
    await stage.begin(rig, trials)
    arq = ArqRedis(
        pool_or_conn=rig.redis.connection_pool,
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=QUEUE,
    )
    for trial in trials:
        for number in range(COPIES):
            await arq.enqueue_job(GENERATE, trial.stream_id, _job_id=f"{trial.stream_id}.copy{number}")
    worker.thaw()
    other.thaw()
    await stage.settle(rig, trials)
    for trial in trials:
        if trial.state.get("epoch") != "1":
            trial.breaks(f"Claim/Once: {trial.state.get('epoch')} attempts")
    await other.kill()


async def run_nobody(rig: Rig, trials: Sequence[Trial]) -> None:
    """Start streams while there is no worker at all."""
    await (await rig.worker()).kill()
    await stage.begin(rig, trials)
    await asyncio.sleep(trials[0].case.point)
    await rig.worker()
    await stage.settle(rig, trials)


async def run_timeout(rig: Rig, trials: Sequence[Trial]) -> None:
    """Let no worker come in time; one that comes later changes nothing."""
    await (await rig.worker()).kill()
    await stage.begin(rig, trials)
    await stage.until(rig, trials, stage.ended, QUEUE_TIMEOUT_S + 3)
    await rig.worker()
    await asyncio.sleep(0.5)
    await stage.settle(rig, trials)
    for trial in trials:
        queued_ms = float(trial.state["ended_ms"]) - float(trial.state["created_ms"])
        trial.latency_ms = queued_ms - QUEUE_TIMEOUT_S * 1000
        if trial.calls or trial.latency_ms > LOST_S * 1000:
            trial.breaks(f"{len(trial.calls)} calls, sealed {trial.latency_ms:.0f} ms after the time-out")


FAMILIES = (
    Family("slip-lost", 40, 40, draw, run_lost),
    Family("slip-doubled", 40, 40, draw, run_doubled),
    Family("no-worker-for-a-while", 80, 40, draw, run_nobody),
    Family("no-worker-ever", 40, 40, draw_timeout, run_timeout, {"queue_timeout_s": QUEUE_TIMEOUT_S}),
)
