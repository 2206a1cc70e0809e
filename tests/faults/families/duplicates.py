"""The same start many times: at once, and again because no answer came."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx2

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.family import Family
from tests.faults.rig import Rig
from tests.faults.trial import MODELS, Trial

WIDE = 100
TRIES = 8


def draw(rng: random.Random, number: int) -> dict[str, Any]:
    """Alternate between many at once and impatient clients."""
    return {
        "model": MODELS[number % len(MODELS)],
        "script": Script(words=rng.randint(3, 15), delay_ms=rng.uniform(0, 10)),
        "point": ("wide", "impatient")[number // len(MODELS) % 2],
    }


async def run(rig: Rig, trials: Sequence[Trial]) -> None:
    """Send all duplicates, then read the one stream that they started."""
    await rig.worker()
    for trial in trials:
        await (_wide if trial.case.point == "wide" else _impatient)(rig, trial)
        stage.read(rig, trial)
    await stage.settle(rig, trials)


async def _wide(rig: Rig, trial: Trial) -> None:
    answers = await asyncio.gather(*(_post(rig, trial, rig.urls[number % 2], 10.0) for number in range(WIDE)))
    statuses = Counter(answer.status_code for answer in answers)
    ids = {answer.json()["id"] for answer in answers}
    trial.stream_id = ids.pop()
    if ids or statuses != Counter({200: WIDE - 1, 201: 1}):
        trial.breaks(f"I4 paid once: {WIDE} equal starts were answered {dict(statuses)} with {len(ids) + 1} ids")


async def _impatient(rig: Rig, trial: Trial) -> None:
    """Give up on an answer, at another moment each time, and send the same again."""
    for number in range(TRIES):
        try:
            await _post(rig, trial, rig.urls[number % 2], rig.random.uniform(0.0005, 0.02))
        except httpx2.TransportError:
            continue
    await stage.post(rig, trial)


async def _post(rig: Rig, trial: Trial, url: str, timeout_s: float) -> httpx2.Response:
    headers = {"Idempotency-Key": trial.case.tag}
    return await rig.http.post(f"{url}/v1/streams", json=trial.case.body(), headers=headers, timeout=timeout_s)


FAMILIES = (Family("duplicate-starts", 48, 12, draw, run),)
