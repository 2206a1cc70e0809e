"""A quiet tenant alone, and beside one that is at its limits: python -m scripts.benchmarks.neighbours [--seconds 600].

It is no benchmark of `scripts/bench`: those take seconds, and this one is a promise with a bound. The exit status is 1
where the quiet tenant's p99 beside the loud one is more than a fifth above that alone.

Everything runs on one machine. So the loud tenant's client gets only what no other process wants of a core, as if it
were a machine of its own. And there is a control: processes that are not midstream burn as much as the client, the
broker, the worker and Redis used for the loud tenant. What the quiet tenant loses there, the machine takes, and what it
loses beyond that, midstream.

A host may take a core away from a virtual machine, for a tenth of a second when the machine has used its part. Starts
during which that happened are left out, and counted.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from midstream.access.api_keys import digest
from midstream.log.connect import connect
from midstream.log.keys import Keys, new_id, stream_name
from scripts.benchmarks.benchmark import percentile
from scripts.benchmarks.loud_tenant import KEY as LOUD
from scripts.benchmarks.loud_tenant import LIMITS, START
from scripts.benchmarks.rig import Rig, Server, cpu_s, machine, raise_file_limit

QUIET: Final = "quiet"
INTERVAL_S: Final = 0.1
WORDS: Final = 5
DELAY_MS: Final = 10
BOUND: Final = 1.2
BOUNDED: Final = ("first_ms", "end_ms")
STORED: Final = 2_000
"""Streams of the loud tenant that are there before it begins: as many as `MIDSTREAM_LIST_SCAN` of the defaults."""
PREFIX: Final = "ms"
DAY_S: Final = 86_400
WARM_UP_S: Final = 3.0
ALONE_S: Final = 120.0
"""How long the quiet tenant is measured alone at most, half before and half after."""
CONTROL_S: Final = 60.0
MS: Final = 1_000
_STOLEN: Final = 8
"""The field of the first line of /proc/stat."""
_TIMINGS: Final = re.compile(rb'"queued_ms":(\d+),"first_delta_ms":(\d+)')


@dataclass
class Measured:
    """What the quiet tenant saw, and what was used meanwhile.

    Attributes:
        waits_ms: Of each start: `head_ms` from its request to the answer's head; `queued_ms` until a worker had it;
            `delta_ms` from there to the source's first delta; `first_ms` and `end_ms` from the request to the first
            text and to the answer's end. `queued_ms` and `delta_ms` are of Redis's clock, in whole ms.
        used_s: The CPU time of each process.
        stolen: How many starts were left out, because a host took a core away meanwhile.
        seconds: How long it took.
    """

    waits_ms: dict[str, list[float]] = field(default_factory=dict)
    used_s: dict[str, float] = field(default_factory=dict)
    stolen: int = 0
    seconds: float = 0.0

    def note(self, **waits_ms: float) -> None:
        """Take one start."""
        for name, wait_ms in waits_ms.items():
            self.waits_ms.setdefault(name, []).append(wait_ms)

    def p(self, name: str, share: float) -> float:
        """Return a percentile."""
        return percentile(self.waits_ms[name], share)

    def share(self, name: str) -> float:
        """Return the part of a core that a process had."""
        return self.used_s.get(name, 0.0) / self.seconds

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(
            {name: [*values, *other.waits_ms[name]] for name, values in self.waits_ms.items()},
            {name: used_s + other.used_s[name] for name, used_s in self.used_s.items()},
            self.stolen + other.stolen,
            self.seconds + other.seconds,
        )


def stolen_ticks() -> int:
    """Return for how long a host has taken cores of this virtual machine away."""
    return int(Path("/proc/stat").read_text().partition("\n")[0].split()[_STOLEN])


@contextmanager
def uses(measured: Measured, pids: dict[str, int]) -> Iterator[None]:
    """Note what processes use meanwhile."""
    began_s = time.perf_counter()
    before_s = {name: cpu_s(pid) for name, pid in pids.items()}
    yield
    measured.used_s = {name: cpu_s(pid) - before_s[name] for name, pid in pids.items()}
    measured.seconds = time.perf_counter() - began_s


def measure(server: Server, seconds: float, pids: dict[str, int]) -> Measured:
    """Start a generation again and again, at a steady rate, and read each to its end."""
    body = {"model": "demo/count", "input": "x", "params": {"words": WORDS, "delay_ms": DELAY_MS}, "stream": True}
    document = json.dumps(body).encode()
    head = f"POST /v1/streams HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {QUIET}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(document)}\r\n\r\n"
    measured, until_s = Measured(), time.perf_counter() + seconds
    with uses(measured, pids), socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.perf_counter() < until_s:
            began_s = time.perf_counter()
            _start(connection, head.encode() + document, measured)
            time.sleep(max(0.0, INTERVAL_S - (time.perf_counter() - began_s)))
    return measured


def _start(connection: socket.socket, request: bytes, measured: Measured) -> None:
    stolen_before, began_s = stolen_ticks(), time.perf_counter()
    connection.sendall(request)
    answer, head_ms, first_ms = b"", 0.0, 0.0
    while not answer.endswith(b"0\r\n\r\n"):
        answer += connection.recv(65_536)
        now_ms = (time.perf_counter() - began_s) * MS
        head_ms = head_ms or now_ms
        if not first_ms and b"event: text" in answer:
            first_ms = now_ms
        if not answer.startswith(b"HTTP/1.1 201"):
            raise RuntimeError(answer[:300])
    end_ms = (time.perf_counter() - began_s) * MS
    timings = _TIMINGS.search(answer)
    if timings is None:
        raise RuntimeError(answer[-600:])
    if stolen_ticks() != stolen_before:
        measured.stolen += 1
        return
    queued_ms, delta_ms = (int(figure) for figure in timings.groups())
    measured.note(head_ms=head_ms, queued_ms=queued_ms, delta_ms=delta_ms - queued_ms, first_ms=first_ms, end_ms=end_ms)


def _key_file(folder: Path) -> Path:
    rows = [f'[[keys]]\nname = "{name}"\nsha256 = "{digest(name)}"\ntenant = "{name}"' for name in (QUIET, LOUD)]
    limits = ", ".join(f"{name} = {value}" for name, value in LIMITS.items())
    path = folder / "keys.toml"
    path.write_text("\n".join([*rows, f'[[tenants]]\nname = "{LOUD}"\nlimits = {{{limits}}}']))
    return path


async def _store(url: str) -> None:
    """Store streams of the loud tenant that have ended, as many as one of its lists looks at.

    So its lists cost as much from the first second on as they do after a quarter of an hour of its starts.
    """
    redis, keys = connect(url, 30.0, 1), Keys(PREFIX)
    now_ms = time.time_ns() // 1_000_000
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(STORED):
            stream_id, created_ms = new_id(), now_ms - STORED + number
            state: dict[str, str | int] = {
                "tenant": LOUD,
                "status": "ended",
                "outcome": "completed",
                "model": "demo/count",
                "request": json.dumps(START),
                "tail": 14,
                "created_ms": created_ms,
                "ended_ms": now_ms,
                "ttl_s": DAY_S,
            }
            pipe.hset(keys.state(stream_name(LOUD, stream_id)), mapping=state)
            pipe.zadd(keys.index(LOUD), {stream_id: created_ms})
        await pipe.execute()
    await redis.aclose()


def run(seconds: float) -> dict[str, Measured]:
    """Measure alone, then beside the loud tenant for so long, then in the control, then alone again."""
    alone_s = min(seconds, ALONE_S) / 2
    with tempfile.TemporaryDirectory() as folder, Rig() as rig:
        asyncio.run(_store(rig.redis_url))
        settings = {"api_keys": "", "keys_file": _key_file(Path(folder))}
        pids = {"worker": rig.worker(**settings), "redis": rig.redis_pid}
        server = rig.front(**settings)
        pids["broker"] = server.pid

        def warm(seconds: float, **also: int) -> Measured:
            measure(server, WARM_UP_S, {})
            return measure(server, seconds, pids | also)

        before = warm(alone_s)
        loud = rig.spawn("loud", ["scripts.benchmarks.loud_tenant", str(server.port)], {}, piped=True)
        _step_back(loud.pid)
        beside = warm(seconds, client=loud.pid)
        loud.terminate()
        if loud.stdout is not None:
            print("the loud tenant:", loud.stdout.readline().decode().strip())
        more = sum(beside.share(name) - before.share(name) for name in pids)
        burners = [
            rig.spawn(name, ["scripts.benchmarks.burn", f"{share:.3f}"], {})
            for name, share in (("burner", more), ("idle-burner", beside.share("client")))
        ]
        _step_back(burners[1].pid)
        control = warm(min(seconds, CONTROL_S))
        for burner in burners:
            burner.terminate()
        return {"alone": before + warm(alone_s), "control": control, "beside": beside}


def _step_back(pid: int) -> None:
    """Let a process run only where no other one wants the core."""
    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def report(results: dict[str, Measured]) -> bool:
    """Print what was measured, and return whether the bound holds."""
    for system, each in results.items():
        shares = ", ".join(f"{name} {100 * each.share(name):.0f} %" for name in each.used_s)
        print(f"{system:8} {each.seconds:.0f} s, of a core: {shares}; {each.stolen} starts left out")
    for name in results["alone"].waits_ms:
        for system, each in results.items():
            figures = "  ".join(f"p{100 * share:g} {each.p(name, share):6.1f}" for share in (0.5, 0.9, 0.99))
            print(f"{name:9} {system:8} n {len(each.waits_ms[name]):5}  {figures}")
    kept = True
    for name in BOUNDED:
        alone, control, beside = (results[system].p(name, 0.99) for system in ("alone", "control", "beside"))
        kept &= beside / alone <= BOUND
        ratios = f"{beside / alone:.2f} times that alone (at most {BOUND}), the control's is {control / alone:.2f}"
        print(f"{name} p99 beside the loud tenant: {ratios}")
    print("verdict: the bound holds" if kept else "verdict: the bound does not hold")
    return kept


def main() -> None:
    """Measure and say whether the bound holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long the tenant is at its limits")
    raise_file_limit()
    results = run(parser.parse_args().seconds)
    print(machine())
    sys.exit(0 if report(results) else 1)


if __name__ == "__main__":
    main()
