"""Clients that read streams over any number of brokers, come back as they are asked to, and digest each frame.

One lean loop: no asyncio, because the clients share the machine with what they watch.
"""

import errno
import hashlib
import heapq
import itertools
import random
import select
import socket
import time
from collections.abc import Callable
from typing import Final

from scripts.benchmarks.rig import KEY

RECEIVE_BYTES: Final = 65_536
REFUSED_S: Final = 0.02
"""So soon another broker is tried where nobody listens, as a proxy does."""
DEFAULT_RETRY_MS: Final = 1_000
_END: Final = b"\nevent: end\n"


class Body:
    """What has come of a chunked body, without its chunks' lengths; `is_whole` when the last one has come."""

    def __init__(self) -> None:
        self.is_whole = False
        self._carry = b""

    def feed(self, data: bytes) -> bytes:
        """Return the content of all chunks that are whole by now."""
        data, content = self._carry + data, []
        at = 0
        while (line := data.find(b"\r\n", at)) >= 0:
            length = int(data[at:line], 16)
            if length == 0:
                self.is_whole = True
                break
            begin, end = line + 2, line + 2 + length
            if len(data) < end + 2:
                break
            content.append(data[begin:end])
            at = end + 2
        self._carry = data[at:]
        return b"".join(content)


class Frames:
    """The frames of one stream in their order, as a digest.

    Attributes:
        last: The offset of the last one.
        ended: Whether it was the end.
        retry_ms: After what delay the client is to come back.
        gaps: Frames that did not follow the one before.
    """

    def __init__(self) -> None:
        self.last = self.gaps = 0
        self.ended = False
        self.retry_ms = DEFAULT_RETRY_MS
        self._sum = hashlib.sha256()
        self._carry = b""

    def feed(self, content: bytes) -> None:
        """Take what has come next."""
        *frames, self._carry = (self._carry + content).split(b"\n\n")
        for frame in frames:
            head, _, rest = frame.partition(b"\n")
            if head.startswith(b"retry: "):
                self.retry_ms = int(head[7:])
                head, _, rest = rest.partition(b"\n")
            if head.startswith(b"id: "):
                offset = int(head[4:])
                self.gaps += offset != self.last + 1
                self.last = offset
                self.ended = _END in b"\n" + rest + b"\n"
                self._sum.update(b"%d\n%b\n\n" % (offset, rest))

    def forget_rest(self) -> None:
        """Drop half a frame, because the connection is over."""
        self._carry = b""

    def digest(self) -> str:
        """Return the digest of all frames so far."""
        return self._sum.hexdigest()


class Seat:
    """A stream after the other, each read by the same clients.

    Attributes:
        stream: The present one; empty: the next one is about to be started.
        furthest: The last offset that any client has of it.
        digests: Those of the clients that have read it to its end.
    """

    def __init__(self) -> None:
        self.stream = ""
        self.furthest = 0
        self.digests: list[str] = []
        self.clients: list[Reader] = []

    def follow(self, stream: str) -> None:
        """Go on with another stream."""
        self.stream, self.furthest, self.digests = stream, 0, []


class Reader:
    """One client."""

    __slots__ = ("body", "frames", "goal", "head", "is_open", "left_s", "returned_s", "seat", "socket")

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.frames = Frames()
        self.socket: socket.socket
        self.head = b""
        self.body = Body()
        self.is_open = False
        self.left_s = self.returned_s = 0.0
        self.goal = 0


class Readers:
    """All clients.

    Attributes:
        partings: Responses that ended whole, and before the stream did.
        caught_up_ms: From a parting until the client had all that anybody had when it asked again.
        of_return_ms: The same, from when the client began to come back.
        cut: Connections that broke.
        refusals: How often each status was answered that was none of a stream's.
    """

    def __init__(self, ports: list[int], seats: list[Seat], ended: Callable[[Seat], None]) -> None:
        self.partings = self.cut = self.gaps = 0
        self.caught_up_ms: list[float] = []
        self.of_return_ms: list[float] = []
        self.refusals: dict[int, int] = {}
        self._ports = ports
        self._ended = ended
        self._poll = select.epoll()
        self._by_fd: dict[int, Reader] = {}
        self._due: list[tuple[float, int, Reader]] = []
        self._number = itertools.count()
        self._seats = seats

    def begin(self, seat: Seat) -> None:
        """Have a seat's clients read its stream from the start."""
        for reader in seat.clients:
            reader.frames, reader.left_s = Frames(), 0.0
            self._come_back(reader, random.random() / 2)  # noqa: S311

    def turn(self, wait_s: float) -> None:
        """Do what is due, and read once."""
        while self._due and self._due[0][0] <= time.monotonic():
            self._connect(heapq.heappop(self._due)[2])
        for fd, events in self._poll.poll(wait_s):
            reader = self._by_fd[fd]
            if events & select.EPOLLOUT:
                self._ask(reader)
            else:
                self._read(reader)

    def close(self) -> None:
        """Break all connections."""
        for reader in self._by_fd.values():
            reader.socket.close()
        self._poll.close()

    def _come_back(self, reader: Reader, delay_s: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._number), reader))

    def _connect(self, reader: Reader) -> None:
        reader.returned_s = reader.returned_s or time.monotonic()
        reader.socket = socket.socket()
        reader.socket.setblocking(False)  # noqa: FBT003
        reader.head, reader.body, reader.is_open = b"", Body(), False
        error = reader.socket.connect_ex(("127.0.0.1", random.choice(self._ports)))  # noqa: S311
        if error not in (0, errno.EINPROGRESS):
            reader.socket.close()
            self._come_back(reader, REFUSED_S)
            return
        self._by_fd[reader.socket.fileno()] = reader
        self._poll.register(reader.socket.fileno(), select.EPOLLOUT)

    def _ask(self, reader: Reader) -> None:
        if reader.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._leave(reader)
            self._come_back(reader, REFUSED_S)
            return
        after = f"Last-Event-ID: {reader.frames.last}\r\n"
        head = f"GET /v1/streams/{reader.seat.stream}/events HTTP/1.1\r\nHost: bench\r\n{after}"
        reader.socket.sendall(f"{head}Authorization: Bearer {KEY}\r\n\r\n".encode())
        reader.goal = reader.seat.furthest
        self._poll.modify(reader.socket.fileno(), select.EPOLLIN)

    def _read(self, reader: Reader) -> None:
        try:
            data = reader.socket.recv(RECEIVE_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._over(reader, is_whole=False)
            return
        if not reader.is_open:
            reader.head += data
            head, blank, data = reader.head.partition(b"\r\n\r\n")
            if not blank:
                return
            if (status := int(head[9:12])) != 200:  # noqa: PLR2004
                self.refusals[status] = self.refusals.get(status, 0) + 1
                self._over(reader, is_whole=False)
                return
            reader.is_open = True
        self._take(reader, data)

    def _take(self, reader: Reader, data: bytes) -> None:
        frames, seat = reader.frames, reader.seat
        frames.feed(reader.body.feed(data))
        seat.furthest = max(seat.furthest, frames.last)
        if reader.left_s and frames.last >= reader.goal:
            now_s = time.monotonic()
            self.caught_up_ms.append(1_000 * (now_s - reader.left_s))
            self.of_return_ms.append(1_000 * (now_s - reader.returned_s))
            reader.left_s = 0.0
        if frames.ended:
            self._leave(reader)
            self.gaps += frames.gaps
            seat.digests.append(frames.digest())
            if len(seat.digests) == len(seat.clients):
                self._ended(seat)
        elif reader.body.is_whole:
            self._over(reader, is_whole=True)

    def _over(self, reader: Reader, *, is_whole: bool) -> None:
        """The connection is over before the stream is."""
        self._leave(reader)
        self.partings += is_whole
        self.cut += not is_whole
        reader.frames.forget_rest()
        reader.left_s, reader.returned_s = reader.left_s or time.monotonic(), 0.0
        self._come_back(reader, reader.frames.retry_ms / 1_000)

    def _leave(self, reader: Reader) -> None:
        self._poll.unregister(reader.socket.fileno())
        del self._by_fd[reader.socket.fileno()]
        reader.socket.close()
