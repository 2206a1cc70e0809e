"""Everybody is cut off and comes back at once."""

import time
from functools import partial
from typing import Final

from scripts.benchmarks.benchmark import OBVIOUS, OURS, Benchmark, Figures
from scripts.benchmarks.following import path, started
from scripts.benchmarks.load import Load
from scripts.benchmarks.rig import Rig, cpu_s

TAILS: Final = 2_000
QUICK_TAILS: Final = 500
SEEN: Final = 100
MISSED: Final = 20
GONE_S: Final = 0.5
TIMEOUT_S: Final = 60.0


def run(system: str, quick: bool) -> Figures:
    """Break the connections of all clients, and time their return."""
    with Rig() as rig:
        server, producer = started(rig, system, 1)
        with Load(server.port) as load:
            load.tail(path(producer.streams[0]), QUICK_TAILS if quick else TAILS)
            load.join()
            producer.append(SEEN)
            load.reach(1 + SEEN, TIMEOUT_S)
            load.forget_figures()
            load.drop()
            time.sleep(GONE_S)
            producer.append(MISSED)
            used_s, began_s = cpu_s(server.pid), time.monotonic()
            load.return_all()
            connected_s = time.monotonic() - began_s
            late = load.reach(1 + SEEN + MISSED, TIMEOUT_S)
            took_s = time.monotonic() - began_s
            return {
                "all caught up, s": took_s,
                "of which clients connecting, s": connected_s,
                "front CPU, ms a client": 1000 * (cpu_s(server.pid) - used_s) / len(load.clients),
                "not caught up": float(late),
                "gaps": float(load.gaps),
                "repeated": float(load.repeated),
            }


STORM: Final = Benchmark(
    name="storm",
    title=f"{TAILS:,} clients come back at once",
    note=f"All connections of one stream are broken; {GONE_S:g} s and {MISSED} entries later all clients connect again "
    "with their Last-Event-ID: time until the last one has what it missed. The clients connect one after another from "
    "one process, which takes its own share of that time.",
    systems={system: partial(run, system) for system in (OBVIOUS, OURS)},
    plotted=("all caught up, s",),
    headlines={"all caught up, s": f"{TAILS:,} clients come back at once: all have caught up after, s"},
)
