"""What a client with a key meets while others without one attack a broker by holding connections.

`scripts/slow_loris` runs it with 10,000 connections, and prints what it sees.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2

from tests import sse
from tests.servers import ValkeyProcess
from tests.system import ROOT, System

KEY: Final = "k" * 32
OURS: Final = {"Authorization": f"Bearer {KEY}"}
PARAMS: Final = {"words": 20, "delay_ms": 1}
PAUSE_S: Final = 0.05


@dataclass
class Seen:
    """What was seen from outside: what the broker took, and how long a client with a key waited.

    Attributes:
        files, memory_mib: Open files and memory of the broker before, at most during, and after the attack.
        starts_ms: From a start to its answer. tails_ms: From there to the end of the tail.
        refused: How often the client was told to try again.
    """

    files: list[int] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    starts_ms: list[float] = field(default_factory=list)
    tails_ms: list[float] = field(default_factory=list)
    closed: Counter[str] = field(default_factory=Counter)
    most_open: int = 0
    refused: int = 0


def files_of(pid: int) -> int:
    """Return how many files a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def memory_mib_of(pid: int) -> float:
    """Return how much memory a process takes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def one_start(system: System, seen: Seen) -> None:
    """Start and tail a stream by a connection of its own, as a client with a key."""
    async with httpx2.AsyncClient(base_url=system.url, headers=OURS, timeout=30) as client:
        began_s = time.perf_counter()
        ask = {"model": "demo/count", "input": "x", "params": PARAMS}
        while (answer := await client.post("/v1/streams", json=ask)).status_code == 503:
            seen.refused += 1
            await asyncio.sleep(int(answer.headers["retry-after"]))
        assert answer.status_code == 201, answer.text
        seen.starts_ms.append((time.perf_counter() - began_s) * 1000)
        events = await _tail(client, answer.json()["id"], seen)
        seen.tails_ms.append((time.perf_counter() - began_s) * 1000 - seen.starts_ms[-1])
        assert events[-1].data["outcome"] == "completed"


async def _tail(client: httpx2.AsyncClient, stream_id: str, seen: Seen) -> list[sse.Event]:
    """Read a stream to its end; as a client does, come back where the broker has no room for the connection.

    The start's connection is idle by then, and may be closed to make room while the request is on its way. An answer
    that has begun is not cut.
    """
    while True:
        has_begun = False
        try:
            async with client.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
                has_begun = True
                if answer.status_code == 200:
                    return [event async for event in sse.parse(answer)]
                assert answer.status_code == 503, answer.status_code
        except (httpx2.RemoteProtocolError, httpx2.ReadError):  # closed before, or while the request came: a reset
            if has_begun:
                raise
            continue
        seen.refused += 1
        await asyncio.sleep(int(answer.headers["retry-after"]))


async def attacked(system: System, size: int, lasts_s: float) -> Seen:
    """Attack a system, start and tail streams meanwhile, and return what was seen."""
    seen = Seen()
    pid = system.brokers[0].pid
    await one_start(system, Seen())
    files, memory_mib = [files_of(pid)], [memory_mib_of(pid)]
    words = (sys.executable, "-m", "tests.slow_loris_attack", str(system.port), str(size))
    attack = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        until_s = time.monotonic() + lasts_s
        while time.monotonic() < until_s:
            await one_start(system, seen)
            files.append(files_of(pid))
            memory_mib.append(memory_mib_of(pid))
            await asyncio.sleep(PAUSE_S)
    finally:
        attack.terminate()
        output, _ = await attack.communicate()
    attackers_saw = json.loads(output)
    seen.most_open, seen.closed = attackers_saw["most_open"], Counter(attackers_saw["closed"])
    async with asyncio.timeout(30):
        while files_of(pid) > files[0] + 2:
            await asyncio.sleep(0.1)
    await one_start(system, Seen())
    seen.files = [files[0], max(files), files_of(pid)]
    seen.memory_mib = [memory_mib[0], max(memory_mib), memory_mib_of(pid)]
    return seen


async def run(size: int, lasts_s: float) -> None:
    """Attack a broker with its default settings, and print what was seen."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(ValkeyProcess(folder))
        system = await stack.enter_async_context(System(server.url, folder, api_keys=f"{KEY}:acme"))
        await system.start()
        alone = Seen()
        for _ in range(20):
            await one_start(system, alone)
        seen = await attacked(system, size, lasts_s)
        print(f"{size} attackers for {lasts_s:g} s, {seen.most_open} connected at once at most")  # noqa: T201
        for name, before, during in (
            ("start, ms", alone.starts_ms, seen.starts_ms),
            ("tail, ms", alone.tails_ms, seen.tails_ms),
        ):
            print(f"  {name:12} alone {_spread(before)}   attacked {_spread(during)}, {len(during)} of them")  # noqa: T201
        for name, figures in (("open files", seen.files), ("memory, MiB", seen.memory_mib)):
            print(f"  {name:12} before, at most, after: {', '.join(f'{figure:.0f}' for figure in figures)}")  # noqa: T201
        print(f"  refused: {seen.refused} starts; closed: {json.dumps(seen.closed)}")  # noqa: T201
        lines = [line for line in system.log("broker0").splitlines() if "a connection was refused" in line]
        print(f"  {len(lines)} lines in the log that a connection was refused")  # noqa: T201


def _spread(figures: list[float]) -> str:
    return f"median {statistics.median(figures):.0f}, at most {max(figures):.0f}"
