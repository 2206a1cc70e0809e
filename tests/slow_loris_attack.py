"""Clients without a key that hold connections: python -m tests.slow_loris_attack PORT SIZE.

They are a process of their own: in one loop with them, a client with a key would wait for them and not for the broker.
On SIGTERM the process prints how many were connected at once at most, and how often each kind was closed.
"""

import asyncio
import contextlib
import itertools
import json
import signal
import socket
import sys
from collections import Counter
from typing import Final

import uvloop

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
        most_open: How many were connected at once at most.
        closed: How often each kind was closed.
    """

    def __init__(self, port: int) -> None:
        self.connected: set[Attacker] = set()
        self.most_open = 0
        self.closed: Counter[str] = Counter()
        self._port = port
        self._few = asyncio.Semaphore(BACKLOG)

    async def run(self, size: int) -> None:
        """Attack until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in itertools.islice(itertools.cycle(KINDS), size):
                group.create_task(self._attack(kind))
            group.create_task(self._drip())

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
            self.most_open = max(self.most_open, len(self.connected))
            for attacker in tuple(self.connected):
                attacker.transport.write(KINDS[attacker.kind][1])


async def _main(port: int, size: int) -> None:
    attack = Attack(port)
    running = asyncio.create_task(attack.run(size))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await asyncio.wait((running,))
    print(json.dumps({"most_open": attack.most_open, "closed": attack.closed}), flush=True)  # noqa: T201


if __name__ == "__main__":
    uvloop.run(_main(*(int(word) for word in sys.argv[1:])))
