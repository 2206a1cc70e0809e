"""A quiet tenant alone, and beside one that is at its limits: python -m scripts.benchmarks.neighbours [--seconds 600].

It is no benchmark of `scripts/bench`: those take seconds, and this one is a promise with a bound. The exit status is 1
where the quiet tenant's p99 beside the loud one is more than a fifth above that alone.
"""

import argparse
import json
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from midstream.access.api_keys import digest
from scripts.benchmarks.benchmark import percentile
from scripts.benchmarks.loud_tenant import KEY as LOUD
from scripts.benchmarks.loud_tenant import LIMITS
from scripts.benchmarks.rig import Rig, Server, cpu_s, machine, raise_file_limit

QUIET: Final = "quiet"
INTERVAL_S: Final = 0.15
WORDS: Final = 5
DELAY_MS: Final = 10
BOUND: Final = 1.2
WARM_UP_S: Final = 3.0
MS: Final = 1_000


@dataclass
class Measured:
    """What the quiet tenant saw, in ms: from a start to its first text, and to the end of its answer."""

    first_ms: list[float] = field(default_factory=list)
    end_ms: list[float] = field(default_factory=list)
    front_share: float = 0.0
    """The broker's share of a core meanwhile."""


def measure(server: Server, seconds: float) -> Measured:
    """Start a generation again and again, at a steady rate, and read each to its end."""
    body = {"model": "demo/count", "input": "x", "params": {"words": WORDS, "delay_ms": DELAY_MS}, "stream": True}
    document = json.dumps(body).encode()
    head = f"POST /v1/streams HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {QUIET}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(document)}\r\n\r\n"
    measured = Measured()
    used_s, until_s = cpu_s(server.pid), time.perf_counter() + seconds
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (began_s := time.perf_counter()) < until_s:
            connection.sendall(head.encode() + document)
            answer, first_ms = b"", 0.0
            while not answer.endswith(b"0\r\n\r\n"):
                answer += connection.recv(65_536)
                if not first_ms and b"event: text" in answer:
                    first_ms = (time.perf_counter() - began_s) * MS
                if not answer.startswith(b"HTTP/1.1 201"):
                    raise RuntimeError(answer[:300])
            measured.first_ms.append(first_ms)
            measured.end_ms.append((time.perf_counter() - began_s) * MS)
            time.sleep(max(0.0, INTERVAL_S - (time.perf_counter() - began_s)))
    measured.front_share = (cpu_s(server.pid) - used_s) / seconds
    return measured


def _key_file(folder: Path) -> Path:
    rows = [f'[[keys]]\nname = "{name}"\nsha256 = "{digest(name)}"\ntenant = "{name}"' for name in (QUIET, LOUD)]
    limits = ", ".join(f"{name} = {value}" for name, value in LIMITS.items())
    path = folder / "keys.toml"
    path.write_text("\n".join([*rows, f'[[tenants]]\nname = "{LOUD}"\nlimits = {{{limits}}}']))
    return path


ALONE_S: Final = 180.0
"""How long the quiet tenant is measured alone at most, half before and half after."""


def run(seconds: float) -> dict[str, Measured]:
    """Measure alone, then beside the loud tenant for so long, then alone again."""
    alone_s = min(seconds, ALONE_S)
    with tempfile.TemporaryDirectory() as folder, Rig() as rig:
        settings = {"api_keys": "", "keys_file": _key_file(Path(folder))}
        rig.worker(**settings)
        server = rig.front(**settings)
        measure(server, WARM_UP_S)
        before = measure(server, alone_s / 2)
        loud = rig.spawn("loud", ["scripts.benchmarks.loud_tenant", str(server.port)], {}, piped=True)
        measure(server, WARM_UP_S)
        beside = measure(server, seconds)
        loud.terminate()
        if loud.stdout is not None:
            print("the loud tenant:", loud.stdout.readline().decode().strip())
        measure(server, WARM_UP_S)
        after = measure(server, alone_s / 2)
    share = (before.front_share + after.front_share) / 2
    alone = Measured(before.first_ms + after.first_ms, before.end_ms + after.end_ms, share)
    return {"alone": alone, "beside": beside}


def main() -> None:
    """Measure and say whether the bound holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long the tenant is at its limits")
    raise_file_limit()
    results = run(parser.parse_args().seconds)
    print(machine())
    print(", ".join(f"broker {system}: {100 * each.front_share:.0f} % of a core" for system, each in results.items()))
    kept = True
    for name in ("first_ms", "end_ms"):
        alone, beside = (getattr(results[system], name) for system in ("alone", "beside"))
        ratio = percentile(beside, 0.99) / percentile(alone, 0.99)
        kept &= ratio <= BOUND
        for system, values in (("alone", alone), ("beside", beside)):
            p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
            print(f"{name:8} {system:6} n {len(values):5}  p50 {p50:6.1f}  p99 {p99:6.1f}")
        print(f"{name:8} p99 beside the loud tenant: {ratio:.2f} times that alone (at most {BOUND})")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
