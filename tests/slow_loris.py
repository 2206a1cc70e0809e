"""An attack by clients without a key that hold connections, and what a client with a key meets meanwhile.

`scripts/slow_loris` runs it with 10,000 connections, and prints what it sees.
"""

import asyncio
import contextlib
import itertools
import json
import socket
import statistics
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import httpx2

from tests import sse
from tests.servers import ValkeyProcess
from tests.system import System

KEY: Final = "k" * 32
OURS: Final = {"Authorization": f"Bearer {KEY}"}
PARAMS: Final = {"words": 20, "delay_ms": 1}
DRIP_S: Final = 1.0
AGAIN_S: Final = 1.0
"""How long an attacker that was closed waits before it connects again."""
BLIND_S: Final = 5.0
BACKLOG: Final = 200
"""Connections that are opened at once."""
_HOST: Final = b" HTTP/1.1\r\nHost: localhost\r\n"
_LONG: Final = b"Content-Type: application/json\r\nContent-Length: 60000\r\n"
_SOCKET: Final = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_LARGE: Final = (b"GET /docs/files/swagger-ui-bundle.js" + _HOST + b"\r\n") * 8

KINDS: Final[dict[str, tuple[bytes, bytes]]] = {
    "silent": (b"", b""),
    "half a head": (b"GET /healthz" + _HOST, b"a: b\r\n"),
    "half a body": (b"POST /v1/streams" + _HOST + b"Authorization: Bearer x\r\n" + _LONG + b"\r\n", b" "),
    "a body after its answer": (b"GET /healthz" + _HOST + _LONG + b"\r\n", b" "),
    "idle": (b"GET /healthz" + _HOST + b"\r\n", b""),
    "reads nothing": (_LARGE, b""),
    "silent socket": (b"GET /v1/ws" + _HOST + _SOCKET, b""),
}
"""What each kind of attacker sends at first, and what it sends now and then."""


class Attacker(asyncio.Protocol):
    """One connection, on which its kind's part is sent; what is answered is dropped, or not even taken."""

    def __init__(self, kind: str, connected: "set[Attacker]") -> None:
        self.kind = kind
        self.gone = asyncio.Event()
        self._connected = connected

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._connected.add(self)
        if self.kind == "reads nothing":
            transport.pause_reading()
        transport.write(KINDS[self.kind][0])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._connected.discard(self)
        self.gone.set()


class Attack:
    """So many attackers, of all kinds in turn. Each comes back when it is closed.

    Attributes:
        connected: Those that are connected now.
        closed: How often each kind was closed.
    """

    def __init__(self, port: int, size: int) -> None:
        self.connected: set[Attacker] = set()
        self.closed: Counter[str] = Counter()
        self._port = port
        self._size = size
        self._few = asyncio.Semaphore(BACKLOG)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        kinds = itertools.islice(itertools.cycle(KINDS), self._size)
        self._tasks = [asyncio.create_task(self._attack(kind)) for kind in kinds]
        self._tasks.append(asyncio.create_task(self._drip()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self.connected:
            for attacker in self.connected:
                attacker.transport.abort()
            await asyncio.sleep(0.01)

    async def _attack(self, kind: str) -> None:
        while True:
            attacker = Attacker(kind, self.connected)
            async with self._few:
                with contextlib.suppress(OSError):
                    await self._connect(attacker)
            try:
                async with asyncio.timeout(BLIND_S if kind == "reads nothing" else None):
                    await attacker.gone.wait()
            except TimeoutError:  # who reads nothing does not notice that it was cut
                attacker.transport.abort()
                await attacker.gone.wait()
            self.closed[kind] += 1
            await asyncio.sleep(AGAIN_S)

    async def _connect(self, attacker: Attacker) -> None:
        loop, connection = asyncio.get_running_loop(), socket.socket()
        if attacker.kind == "reads nothing":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.setblocking(False)  # noqa: FBT003
        try:
            await loop.sock_connect(connection, ("127.0.0.1", self._port))
            await loop.create_connection(lambda: attacker, sock=connection)
        except BaseException:
            attacker.gone.set()
            connection.close()
            raise

    async def _drip(self) -> None:
        while True:
            await asyncio.sleep(DRIP_S)
            for attacker in tuple(self.connected):
                attacker.transport.write(KINDS[attacker.kind][1])


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
    """Read a stream to its end; as a client does, come back where the broker has no room for the connection."""
    while True:
        try:
            async with client.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
                if answer.status_code == 200:
                    return [event async for event in sse.parse(answer)]
                assert answer.status_code == 503, answer.status_code
        except httpx2.RemoteProtocolError:  # the start's connection was idle, and was closed to make room
            continue
        seen.refused += 1
        await asyncio.sleep(int(answer.headers["retry-after"]))


async def attacked(system: System, size: int, lasts_s: float) -> Seen:
    """Attack a system, start and tail streams meanwhile, and return what was seen."""
    seen = Seen()
    pid = system.brokers[0].pid
    await one_start(system, Seen())
    files, memory_mib = [files_of(pid)], [memory_mib_of(pid)]
    async with Attack(system.port, size) as attack:
        until_s = time.monotonic() + lasts_s
        while time.monotonic() < until_s:
            await one_start(system, seen)
            files.append(files_of(pid))
            memory_mib.append(memory_mib_of(pid))
            seen.most_open = max(seen.most_open, len(attack.connected))
            await asyncio.sleep(0.05)
        seen.closed = attack.closed
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
