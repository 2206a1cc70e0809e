"""What a tail costs while nothing happens."""

import time
from functools import partial
from typing import Any, Final

import redis

from scripts.benchmarks.benchmark import OBVIOUS, OURS, Benchmark, Figures
from scripts.benchmarks.following import path, started
from scripts.benchmarks.load import Load
from scripts.benchmarks.rig import Rig, cpu_s, rss_kib

STREAMS: Final = 100
TAILS: Final = {OBVIOUS: 2_000, OURS: 10_000}
"""The obvious way needs a Redis connection each, and Redis takes 10,000."""
QUICK: Final = 10
SETTLE_S: Final = 2.0
WATCH_S: Final = 20.0
"""Longer than the 15 s between two heartbeats."""


def _run(system: str, quick: bool) -> Figures:
    tails = TAILS[system] // (QUICK if quick else 1)
    with Rig() as rig:
        server, producer = started(rig, system, STREAMS)
        client = redis.Redis.from_url(rig.redis_url)
        with Load(server.port) as load, client:
            for stream in producer.streams:  # everything is loaded before memory is compared
                load.tail(path(stream), 1)
            load.join()
            _let_pass(load, SETTLE_S)
            before_kib = rss_kib(server.pid)
            for stream in producer.streams:
                load.tail(path(stream), tails // STREAMS)
                load.join()
            _let_pass(load, SETTLE_S)
            after_kib = rss_kib(server.pid)
            used_s = cpu_s(server.pid)
            _let_pass(load, WATCH_S)
            used_s = cpu_s(server.pid) - used_s
            clients: dict[str, Any] = client.info("clients")  # type: ignore[assignment]
            connections = clients["connected_clients"] - 2  # without the producer's and this one
            return {
                "tails": float(tails + STREAMS),
                "memory, KiB a tail": (after_kib - before_kib) / tails,
                "Redis connections": float(connections),
                "front CPU for 10,000 tails, %": 100 * used_s / WATCH_S * 10_000 / tails,
                "cut": float(load.cut),
            }


def _let_pass(load: Load, wait_s: float) -> None:
    until_s = time.monotonic() + wait_s
    while (left_s := until_s - time.monotonic()) > 0:
        load.read(left_s)


IDLE: Final = Benchmark(
    name="idle",
    title="Idle tails",
    note=f"Spread over {STREAMS} live streams that append nothing, for {WATCH_S:g} s, with heartbeats. Memory is what "
    "the front grew by. CPU is scaled to 10,000 tails.",
    systems={system: partial(_run, system) for system in (OBVIOUS, OURS)},
    plotted=("memory, KiB a tail", "front CPU for 10,000 tails, %"),
    headlines={"memory, KiB a tail": "Memory of an idle tail, KiB"},
)
