"""Many clients in one lean loop: each received offset is checked, some deliveries are timed, nothing else is looked at.

No asyncio and no SSE parser: the client has to cost much less than the server that it measures.
"""

import select
import socket
import struct
import time
from typing import Final, Self

from scripts.benchmarks.producer import STAMP_DIGITS
from scripts.benchmarks.rig import KEY

SAMPLED: Final = 8
"""Of so many deliveries one is timed; which one differs from client to client."""
RECEIVE_BYTES: Final = 65_536
LONGEST_FRAME_BYTES: Final = 8_192
OK: Final = b"HTTP/1.1 200"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_FRAME_END: Final = b"\n\n"


class LoadError(Exception):
    """The server did not do what was asked of it."""


class Client:
    """One connection, and the last offset that came on it."""

    __slots__ = ("carry", "last", "number", "open", "path", "socket")

    def __init__(self, number: int, path: str) -> None:
        self.number = number
        self.path = path
        self.last = 0
        self.open = False
        self.carry = b""
        self.socket: socket.socket


class Load:
    """All clients of one server. Offsets are expected to be dense from 1.

    Attributes:
        received: Entries so far.
        gaps, repeated: Entries that were missing between two others, or came twice.
        cut: Connections that the server ended.
        delays_ms: From append to arrival, of a sample.
    """

    def __init__(self, port: int) -> None:
        self.clients: list[Client] = []
        self.received = self.gaps = self.repeated = self.cut = 0
        self.delays_ms: list[float] = []
        self._port = port
        self._poll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        self._goal = 0
        self._late = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
        self._poll.close()

    @property
    def watched(self) -> int:
        """How many clients are read from."""
        return len(self._by_fd)

    def add(self, path: str, count: int, buffer_bytes: int | None = None) -> list[Client]:
        """Connect clients that will ask for a path; `ask` lets them."""
        added = [Client(len(self.clients) + number, path) for number in range(count)]
        for client in added:
            self._connect(client, buffer_bytes)
        self.clients += added
        return added

    def ask(self, clients: list[Client]) -> None:
        """Send the requests of connected clients, each from after its last offset."""
        for client in clients:
            after = f"Last-Event-ID: {client.last}\r\n" if client.last else ""
            head = f"GET {client.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\n{after}\r\n"
            client.socket.sendall(head.encode())

    def watch(self, clients: list[Client]) -> None:
        """Read from these clients from now on."""
        for client in clients:
            client.socket.settimeout(0)
            self._by_fd[client.socket.fileno()] = client
            self._poll.register(client.socket.fileno(), select.EPOLLIN)

    def tail(self, path: str, count: int) -> list[Client]:
        """Connect, ask and watch in one."""
        clients = self.add(path, count)
        self.ask(clients)
        self.watch(clients)
        return clients

    def forget_figures(self) -> None:
        """Begin to count anew."""
        self.received = self.gaps = self.repeated = self.cut = 0
        self.delays_ms = []

    def drop(self) -> None:
        """Break all connections."""
        for client in self.clients:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            client.socket.close()
            client.open, client.carry = False, b""
        self._by_fd.clear()

    def return_all(self) -> None:
        """Connect every client again, each from after its last offset."""
        for client in self.clients:
            self._connect(client, None)
        self.ask(self.clients)
        self.watch(self.clients)

    def reach(self, goal: int, timeout_s: float) -> int:
        """Read until all watched clients have come to offset `goal`; return how many have not in time."""
        self._goal = goal
        self._late = sum(client.last < goal for client in self._by_fd.values())
        deadline = time.monotonic() + timeout_s
        while self._late and (left_s := deadline - time.monotonic()) > 0:
            self.read(left_s)
        return self._late

    def join(self, timeout_s: float = 60.0) -> None:
        """Read until every client has its stream's first entry.

        Raises:
            LoadError: Some have not in time.
        """
        if late := self.reach(1, timeout_s):
            raise LoadError(f"{late} clients were not served within {timeout_s:g} s")

    def read(self, wait_s: float) -> None:
        """Read once from all that have something to read."""
        for fd, _ in self._poll.poll(wait_s):
            client = self._by_fd[fd]
            try:
                data = client.socket.recv(RECEIVE_BYTES)
            except ConnectionError:
                data = b""
            if data:
                self._take(client, data)
            else:
                self._poll.unregister(fd)
                del self._by_fd[fd]
                self.cut += 1
                self._late -= client.last < self._goal

    def _connect(self, client: Client, buffer_bytes: int | None) -> None:
        client.socket = socket.socket()
        if buffer_bytes is not None:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        client.socket.connect(("127.0.0.1", self._port))

    def _take(self, client: Client, data: bytes) -> None:
        if client.carry:
            data = client.carry + data
        if not client.open:
            head, blank, data = data.partition(b"\r\n\r\n")
            if not blank:
                client.carry = head
                return
            if not head.startswith(OK):
                raise LoadError(head.decode())
            client.open = True
        end = data.rfind(_FRAME_END) + len(_FRAME_END)
        if end < len(_FRAME_END):
            if len(data) > LONGEST_FRAME_BYTES:
                raise LoadError(f"no end of a frame in {data[:200]!r}")
            client.carry = data
            return
        client.carry = data[end:]
        count = data.count(b"id: ", 0, end)
        if count:
            self._count(client, data, count, end)

    def _count(self, client: Client, data: bytes, count: int, end: int) -> None:
        at = data.rfind(b"id: ", 0, end) + 4
        last = int(data[at : data.index(b"\n", at)].partition(b"-")[0])
        extra = last - client.last - count
        if extra > 0:
            self.gaps += extra
        elif extra < 0:
            self.repeated -= extra
        if client.last < self._goal <= last:
            self._late -= 1
        client.last = last
        self.received += count
        if (last + client.number) % SAMPLED == 0:
            stamp = data.find(b"@", at, end) + 1
            if stamp:
                delay_ns = time.monotonic_ns() - int(data[stamp : stamp + STAMP_DIGITS])
                self.delays_ms.append(delay_ns / 1e6)
