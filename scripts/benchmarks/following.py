"""Live tails: what a delivery costs, and how late it is."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from midstream.access.limit_settings import LimitSettings
from scripts.benchmarks import nchan
from scripts.benchmarks.benchmark import OBVIOUS, OURS, Benchmark, Figures, percentile
from scripts.benchmarks.load import Load
from scripts.benchmarks.producer import MIDSTREAM, NCHAN, UNNAMED, XADD, Producer
from scripts.benchmarks.rig import Rig, Server, cpu_s, waited_s

PEER: Final = "nginx + nchan"
UNLOCKED: Final = "midstream without locks"
NO_LOCKS: Final[dict[str, Any]] = {
    name: 0 for name, field in LimitSettings.model_fields.items() if str(field.description).endswith("0: no limit")
} | {"api_keys": "", "allowed_hosts": "bench"}
"""Settings of a broker that asks for no key and bounds nothing that can be left unbounded."""
FOLLOWED: Final = (OBVIOUS, PEER, OURS) if nchan.MODULE and nchan.NGINX else (OBVIOUS, OURS)
"""The systems whose live tails are measured; nchan only where it is installed."""
PEER_NOTE: Final = " nchan (C) keeps messages in memory only and has no log." if PEER in FOLLOWED else ""
LATE_S: Final = 10.0
"""How long after the last append deliveries still count."""
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """So many streams, each with so many tails and so many entries a second."""

    streams: int
    tails: int
    rate: float
    run_s: float = 10.0
    quick_s: float = 4.0


def started(rig: Rig, system: str, streams: int, size: int = 32, **settings: object) -> tuple[Server, Producer]:
    """Start a system's front and a producer for it."""
    if system == OURS:
        return rig.front(**settings), Producer(rig, MIDSTREAM, streams, size)
    if system == UNLOCKED:
        return rig.front(**settings | NO_LOCKS), Producer(rig, UNNAMED, streams, size)
    if system == PEER:
        server = rig.nchan()
        return server, Producer(rig, NCHAN, streams, size, f"http://127.0.0.1:{server.port}")
    return rig.obvious("tails"), Producer(rig, XADD, streams, size)


def path(stream: str) -> str:
    """Return where a stream's events are; both systems have them at the same path."""
    return f"/v1/streams/{stream}/events"


def measured(rig: Rig, server: Server, producer: Producer, load: Load, entries: int, rate: float) -> Figures:
    """Append to all streams at a pace, and return what its delivery came to."""
    load.forget_figures()
    readers = load.watched
    goal = load.clients[0].last + entries
    front_s, redis_s = cpu_s(server.pid), cpu_s(rig.redis_pid)
    waiting_s = waited_s(server.pid)
    client_s, began_s = time.process_time(), time.monotonic()
    producer.begin(entries, rate)
    late = load.reach(goal, entries / rate + LATE_S)
    front_s, redis_s = cpu_s(server.pid) - front_s, cpu_s(rig.redis_pid) - redis_s
    client_s, took_s = time.process_time() - client_s, time.monotonic() - began_s
    producer_late_ms = producer.finish()
    millions = max(load.received, 1) / MILLION
    delays_ms = load.delays_ms or [0.0]
    return {
        "CPU s per million": (front_s + redis_s) / millions,
        "of which front, CPU s": front_s / millions,
        "of which Redis, CPU s": redis_s / millions,
        "delay p50, ms": percentile(delays_ms, 0.5),
        "delay p99, ms": percentile(delays_ms, 0.99),
        "delivered, %": 100 * load.received / (entries * readers),
        "tails left behind": float(late),
        "gaps": float(load.gaps),
        "repeated": float(load.repeated),
        "front busy, %": 100 * front_s / took_s,
        "front waiting for a core, %": 100 * (waited_s(server.pid) - waiting_s) / took_s,
        "load client busy, %": 100 * client_s / took_s,
        "producer late at worst, ms": producer_late_ms,
    }


def run(system: str, shape: Shape, quick: bool) -> Figures:
    """Tail so many streams, and append to them."""
    with Rig() as rig:
        server, producer = started(rig, system, shape.streams)
        with Load(server.port) as load:
            for stream in producer.streams:
                load.tail(path(stream), shape.tails)
            load.join()
            run_s = shape.quick_s if quick else shape.run_s
            return measured(rig, server, producer, load, int(run_s * shape.rate), shape.rate)


def _benchmark(name: str, title: str, shape: Shape, *, headlines: bool = True) -> Benchmark:
    note = (
        f"{shape.streams:,} × {shape.tails:,} tails at {shape.rate:g} entries/s each, API keys and heartbeats "  # noqa: RUF001
        "on. Delay: from append to client. CPU: front and Redis, without client and producer. The obvious way is "
        "FastAPI with sse-starlette and a blocking XREAD for each client; where it falls behind, one XREAD brings it "
        f"several entries, so its CPU per delivery falls as its delay grows.{PEER_NOTE}"
    )
    systems = {system: partial(run, system, shape) for system in FOLLOWED}
    return Benchmark(
        name,
        title,
        note,
        systems,
        plotted=("CPU s per million", "delay p99, ms"),
        headlines={
            "CPU s per million": f"{title}: CPU seconds for a million deliveries",
            "delay p99, ms": f"{title}: delay p99, ms",
        }
        if headlines
        else {},
    )


FANOUT_SHAPE: Final = Shape(1, 1_000, 50)
FANOUT: Final = _benchmark("fanout", "One stream to 1,000 tails", FANOUT_SHAPE)
MANY: Final = _benchmark("many", "200 streams to 5 tails each", Shape(200, 5, 50))
LIGHT_SHAPE: Final = Shape(200, 5, 4)
LIGHT: Final = _benchmark(
    "light", "200 streams to 5 tails each, 4,000 deliveries a second", LIGHT_SHAPE, headlines=False
)
