"""Clocks that are an hour apart, by libfaketime: leases are the server's clock alone, so nothing may come of it.

Lease/Clock.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults import stage
from tests.faults.families.worker_killed import draw_flow, kill
from tests.faults.family import Family
from tests.faults.rig import Rig
from tests.faults.trial import Trial

LIBRARIES = tuple(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
FAST_S, SLOW_S = 3_600, -3_600


def available() -> str:
    """Return why no clock can be moved here."""
    return "" if LIBRARIES else "libfaketime is not installed (Debian: faketime)"


def preload() -> dict[str, str]:
    """Return what lets a forked process have a clock of its own: it asks its environment for it each time."""
    return {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def clock(offset_s: int) -> dict[str, str]:
    """Return the environment of a process whose clock is off by so much; its monotonic clock is not."""
    return {"FAKETIME": f"{offset_s:+d}s"}


def draw(rng: random.Random, number: int) -> dict[str, Any]:
    """Answers that a kill hits at any moment."""
    return draw_flow(rng, number)


async def run(rig: Rig, trials: Sequence[Trial]) -> None:
    """Kill a worker whose clock is fast; its heir's is slow, and so is one broker's."""
    await (await rig.worker()).kill()
    await rig.brokers[0].kill()
    await rig.start_broker(0, preload(), clock(SLOW_S))
    victim = await rig.start_worker(preload(), clock(FAST_S))
    heir = await rig.start_worker(preload(), clock(SLOW_S))
    heir.freeze()
    await stage.begin(rig, trials)
    await asyncio.sleep(trials[0].case.point)
    await kill(rig, trials, victim, heir)
    await stage.settle(rig, trials)
    await heir.kill()
    await rig.brokers[0].kill()
    await rig.start_broker(0)


FAMILIES = (Family("clock-skew", 90, 45, draw, run, available=available),)
