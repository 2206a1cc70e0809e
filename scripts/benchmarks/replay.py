"""Reading a whole log again: out of memory, out of Redis, and out of one read for all."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from scripts.benchmarks.benchmark import OBVIOUS, OURS, Benchmark, Figures
from scripts.benchmarks.following import MILLION, path, started
from scripts.benchmarks.load import Client, Load, LoadError
from scripts.benchmarks.producer import Producer
from scripts.benchmarks.rig import Rig, cpu_s

CLIENTS: Final = 200
ENTRIES: Final = 2_000
TIMEOUT_S: Final = 60.0
SPREADS_S: Final = (0.1, 2.0)


def _in_memory(load: Load, producer: Producer) -> list[Client]:
    """One tail has followed the stream all along."""
    load.tail(path(producer.streams[0]), 1)
    load.join()
    producer.append(ENTRIES - 1)
    if load.reach(ENTRIES, TIMEOUT_S):
        raise LoadError("the follower did not get everything")
    return load.add(path(producer.streams[0]), CLIENTS)


def _one_read(load: Load, producer: Producer) -> list[Client]:
    """All want the same ended stream, which nobody has read yet."""
    producer.append(ENTRIES - 1)
    return load.add(path(producer.streams[0]), CLIENTS)


def _from_redis(load: Load, producer: Producer) -> list[Client]:
    """Each wants another stream, so each entry is read from Redis."""
    producer.append(ENTRIES - 1)
    return [client for stream in producer.streams for client in load.add(path(stream), 1)]


CASES: Final[dict[str, tuple[int, Callable[[Load, Producer], list[Client]]]]] = {
    "followed by one, entries/s": (1, _in_memory),
    "followed by nobody, entries/s": (1, _one_read),
    "a stream each, entries/s": (CLIENTS, _from_redis),
}


def _one_after_another(system: str, spread_s: float) -> float:
    """Return what a million entries of an ended stream cost whose readers come over some time, in CPU s."""
    with Rig() as rig:
        server, producer = started(rig, system, 1)
        producer.append(ENTRIES - 1)
        if system == OURS:  # the obvious way knows no end
            producer.end()
        with Load(server.port) as load:
            clients = load.add(path(producer.streams[0]), CLIENTS)
            used_s, began_s = cpu_s(server.pid) + cpu_s(rig.redis_pid), time.monotonic()
            for number, client in enumerate(clients, 1):
                load.ask([client])
                load.watch([client])
                while (left_s := began_s + number * spread_s / CLIENTS - time.monotonic()) > 0:
                    load.read(left_s)
            if late := load.reach(ENTRIES, TIMEOUT_S):
                raise LoadError(f"{late} late")
            return (cpu_s(server.pid) + cpu_s(rig.redis_pid) - used_s) * MILLION / load.received


def _run(system: str, quick: bool) -> Figures:  # noqa: ARG001 - it is over in seconds
    figures: dict[str, float] = {
        f"ended, readers come over {spread_s:g} s, CPU s per million": _one_after_another(system, spread_s)
        for spread_s in SPREADS_S
    }
    for name, (streams, prepare) in CASES.items():
        with Rig() as rig:
            server, producer = started(rig, system, streams)
            with Load(server.port) as load:
                clients = prepare(load, producer)
                load.forget_figures()
                began_s = time.monotonic()
                load.ask(clients)
                load.watch(clients)
                late = load.reach(ENTRIES, TIMEOUT_S)
                figures[name] = load.received / (time.monotonic() - began_s)
                if late or load.gaps or load.repeated:
                    raise LoadError(f"{name}: {late} late, {load.gaps} gaps, {load.repeated} repeated")
    return figures


REPLAY: Final = Benchmark(
    name="replay",
    title=f"{CLIENTS} clients replay {ENTRIES:,} entries each",
    note=f"From the requests of {CLIENTS} connected clients, sent at once, until the last one has all its entries; "
    "handling the requests is part of it. All offsets were checked. In the first rows the readers of an ended "
    "stream come one after another.",
    systems={system: partial(_run, system) for system in (OBVIOUS, OURS)},
    plotted=tuple(CASES),
    headlines={
        "ended, readers come over 2 s, CPU s per million": f"{CLIENTS} clients, over 2 s, replay an ended stream: "
        "CPU seconds for a million entries",
        "a stream each, entries/s": f"{CLIENTS} clients replay a stream each, at once: entries/s",
    },
)
