"""What it costs a server to keep the log: in memory alone, in a file by either policy, and on a replica too."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import redis

from midstream.log.connect import connect
from midstream.log.keys import new_id, stream_name
from midstream.log.log import Log
from midstream.log.values import NewStream
from scripts.benchmarks.benchmark import Benchmark, Figures, percentile
from scripts.benchmarks.producer import AFTER_MS, LEASE_MS, LOOK_MS, MIDSTREAM, PREFIX, TENANT, TTL_S, UNPACED, Producer
from scripts.benchmarks.rig import Rig, cpu_s
from tests.servers import ValkeyProcess, wait_until

NO_FILE: Final = "no file"
EVERYSEC: Final = "everysec"
ALWAYS: Final = "always"
REPLICATED: Final = "everysec, a replica"
SETTINGS: Final[dict[str, dict[str, str]]] = {
    NO_FILE: {"appendonly": "no"},
    EVERYSEC: {"appendfsync": "everysec"},
    ALWAYS: {"appendfsync": "always"},
    REPLICATED: {"appendfsync": "everysec", "repl-diskless-sync-delay": "0"},
}
STREAMS: Final = 100
RATE: Final = 20
"""Appends a second to each stream: some twenty tokens a second, each in an entry of its own."""
PACED_S: Final = 10
QUICK_PACED_S: Final = 2
ENTRIES: Final = 1_000
QUICK_ENTRIES: Final = 100
ALONE: Final = 500
QUICK_ALONE: Final = 100
PAUSE_S: Final = 0.01
TEXT: Final = b"t" + 32 * b"x"
MICRO: Final = 1e6


class _Servers:
    """The server, and its replica if it has one."""

    def __init__(self, rig: Rig, replica: ValkeyProcess | None) -> None:
        self.pids = {"server": rig.redis_pid} | ({"replica": replica.pid} if replica else {})
        self._urls = [rig.redis_url, *([replica.url] if replica else [])]

    def cost(self, producer: Producer, appends: int, rate: float) -> tuple[float, dict[str, float]]:
        """Have so many appends done; return how long that took, in s, and each server's CPU for one, in µs."""
        before_s, began_s = {name: cpu_s(pid) for name, pid in self.pids.items()}, time.monotonic()
        producer.begin(appends // STREAMS, rate)
        producer.finish()
        took_s = time.monotonic() - began_s
        wait_until(self._are_alike, "the replica lags behind its primary")
        return took_s, {name: MICRO * (cpu_s(pid) - before_s[name]) / appends for name, pid in self.pids.items()}

    def written(self) -> int:
        """Return the bytes that the server's file has; 0 without one."""
        return int(_info(self._urls[0], "persistence").get("aof_current_size", 0))

    def _are_alike(self) -> bool:
        return len({_info(url, "replication")["master_repl_offset"] for url in self._urls}) == 1


def _info(url: str, section: str) -> dict[str, Any]:
    with redis.Redis.from_url(url) as client:
        answer: Any = client.info(section)
        return dict(answer)


@contextmanager
def _replica_of(port: str) -> Iterator[ValkeyProcess]:
    """Start a server that is a copy of the one on this port, with a file of its own, and wait until it is one."""
    settings = {"appendfsync": "everysec", "replicaof": f"127.0.0.1 {port}"}
    with TemporaryDirectory(prefix="midstream-bench-") as folder, ValkeyProcess(Path(folder), settings) as replica:
        wait_until(lambda: _info(replica.url, "replication")["master_link_status"] == "up", "it has no connection")
        yield replica


async def _alone_ms(url: str, count: int) -> list[float]:
    """Append to one stream, one entry after the other, and return how long each append took."""
    client = connect(url, 30.0, 1)
    log = Log(client, PREFIX)
    stream = stream_name(TENANT, new_id())
    new = NewStream(digest="bench", tenant=TENANT, model="bench", ttl_s=TTL_S, request=b'{"input":"bench"}')
    await log.create(stream, new, look_in_ms=LOOK_MS)
    claim = await log.claim(stream, "bench", LEASE_MS)
    tail, taken_ms = claim.state.tail, []
    for _ in range(count):
        began_s = time.perf_counter()
        tail = await log.append(stream, claim.fence, tail, [TEXT], after_ms=AFTER_MS)
        taken_ms.append((time.perf_counter() - began_s) * 1000)
        await asyncio.sleep(PAUSE_S)
    await client.aclose()
    return taken_ms


def _disk_ms(count: int) -> float:
    """Return how long the disk takes to keep a few bytes more: with `always`, each append waits for that."""
    taken_s: list[float] = []
    with TemporaryDirectory(prefix="midstream-bench-") as folder, (Path(folder) / "file").open("wb", 0) as file:
        for _ in range(count):
            file.write(TEXT)
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            taken_s.append(time.perf_counter() - began_s)
            time.sleep(PAUSE_S)
    return 1000 * median(taken_s)


def _run(system: str, quick: bool) -> Figures:
    paced = STREAMS * RATE * (QUICK_PACED_S if quick else PACED_S)
    unpaced = STREAMS * (QUICK_ENTRIES if quick else ENTRIES)
    alone = QUICK_ALONE if quick else ALONE
    with Rig(SETTINGS[system]) as rig:
        port = rig.redis_url.rpartition(":")[2].partition("/")[0]
        with _replica_of(port) if system == REPLICATED else nullcontext() as replica:
            producer = Producer(rig, MIDSTREAM, STREAMS)
            servers = _Servers(rig, replica)
            before = servers.written()
            _, at_rate = servers.cost(producer, paced, RATE)
            written = servers.written() - before
            took_s, at_most = servers.cost(producer, unpaced, 0)
            alone_ms = asyncio.run(_alone_ms(rig.redis_url, alone))
    return {
        **{f"at a rate: {name}'s CPU, µs an append": cost for name, cost in at_rate.items()},
        "at a rate: written, bytes an append": written / paced,
        "at most: entries/s": unpaced / took_s,
        "at most: server busy, %": 100 * at_most["server"] * unpaced / MICRO / took_s,
        **{f"at most: {name}'s CPU, µs an append": cost for name, cost in at_most.items()},
        "alone: p50, ms": percentile(alone_ms, 0.5),
        "alone: p99, ms": percentile(alone_ms, 0.99),
        **({"fdatasync of the same disk: p50, ms": _disk_ms(alone)} if system == ALWAYS else {}),
    }


KEEPING: Final = Benchmark(
    name="keeping",
    title="What it costs to keep the log",
    note=f"The log's own append, an entry each, to {STREAMS} streams in turn: {STREAMS * RATE:,} a second, and as fast "
    f"as one connection with {UNPACED} on their way gets them done; the process that appends is the rest of that time. "
    "No file is `appendonly no`; `everysec` and `always` are `appendfsync`. The replica is only attached (no `WAIT`), "
    "has a file by `everysec`, and shares the cores. CPU is that of all threads of a server, without what the kernel "
    f"does for the disk by itself. Alone: one append every {PAUSE_S * 1000:.0f} ms by `Log.append`, from the call to "
    "its answer.",
    systems={system: partial(_run, system) for system in SETTINGS},
    plotted=("at a rate: server's CPU, µs an append", "at most: entries/s", "alone: p50, ms"),
    ratio=(EVERYSEC, NO_FILE),
)
