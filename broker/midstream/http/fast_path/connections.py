"""The open connections of one server, and what those may hold that have no request in progress.

When a connection opens, nobody has shown a key. So the number of connections is bounded, in all and for an address,
and so is the time that each may hold its place without a request. While a request is answered its connection is in no
queue and costs nothing here. One sweep a second looks at the others, oldest first; no connection has a timer.

=========  =============================================================  ==========================
queue      whose connections wait in it                                   leaves it, at the latest
=========  =============================================================  ==========================
heads      nothing came, or a part of a head                              after `head_timeout_s`
idle       a request was answered, and nothing of another one came        after `IDLE_S`
bodies     a request was answered, and the rest of its body is to come    after `body_timeout_s`
sockets    a WebSocket is open, and its client has shown no key           after `MIDSTREAM_WS_AUTH_S`
refused    a refusal was written, and the client may read it              after `LINGER_S`
=========  =============================================================  ==========================

Clients in `heads`, `bodies` and `sockets` are strangers. Where room is needed, an idle connection is closed, and where
there is none the stranger's that waits longest. A refused client is not counted any more.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Protocol

from midstream import counters
from midstream.http.fast_path.addresses import Addresses
from midstream.http.fast_path.turns import Turns

logger = logging.getLogger(__name__)

SWEEP_S: Final = 1.0
IDLE_S: Final = 10.0
"""uvicorn closes idle connections after 5 s, but forgets those whose request came whole only after its answer."""
LINGER_S: Final = 1.0
"""How long a refused client is read from: one that is reset while it sends may never read the refusal."""
PATIENCE_S: Final = 1.0
"""A stranger that has waited for less is not closed for the number of strangers: its key may be on its way."""
HASTE_S: Final = 0.2
"""The same where there is no room at all. A client's head follows its connection at once; a flood that comes back
leaves few places older than this."""
MOST_DROPPED: Final = 250
"""Strangers that are closed for their number in the time of a sweep. They come back, which costs more than places:
a silent connection takes 5 KiB, and opening it 25 µs; a silent WebSocket 42 KiB and 600 µs."""
SOCKETS_SHARE: Final = 4
"""Of strangers, one in so many may hold a WebSocket."""
LOG_AGAIN_S: Final = 60.0


class Connection(Protocol):
    """A connection, as a server's protocol object."""

    transport: asyncio.Transport
    client: tuple[str, int] | None
    waits_in: "Queue | None"
    """Where it waits, if it does."""

    def time_out(self) -> None:
        """It has waited in its queue for too long."""
        ...


class Queue(dict[Connection, float]):
    """Connections and the time from which each has waited, oldest first; `limit_s` is how long it may."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self.limit_s = limit_s

    def older_than(self, moment_s: float) -> list[Connection]:
        """Return those that wait since that time or longer."""
        return [connection for connection, _ in takewhile(lambda item: item[1] <= moment_s, self.items())]

    def oldest_s(self) -> float:
        """Return the time from which the first one has waited."""
        return next(iter(self.values()), float("inf"))


@dataclass(frozen=True)
class Bounds:
    """How many connections there may be, and for how long each may wait.

    Beyond `most_refused` clients that linger, the next refused ones are closed at once.
    """

    most: int
    most_of_address: int
    most_strangers: int
    most_refused: int
    head_timeout_s: float
    body_timeout_s: float
    send_timeout_s: float
    unsent_bytes: int
    trusted_proxies: str = ""


class Connections:
    """Counts connections, and closes those that wait for too long.

    Attributes:
        turns: How the requests of all connections begin.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.heads = Queue(bounds.head_timeout_s)
        self.idle = Queue(IDLE_S)
        self.bodies = Queue(bounds.body_timeout_s)
        self.sockets = Queue(float("inf"))
        self.refused = Queue(LINGER_S)
        self.turns = Turns()
        self._bounds = bounds
        self._count = 0
        self._addresses = Addresses(bounds.trusted_proxies)
        self._unsent: dict[Connection, tuple[float, int]] = {}
        """When the client last took something of its answers, and how much was left then."""
        self._sweep_s = min(SWEEP_S, bounds.head_timeout_s / 4, bounds.body_timeout_s / 4, bounds.send_timeout_s / 4)
        self._sweeps = False
        self._dropped = 0
        self._logged_s: float | None = None

    def opened(self, connection: Connection) -> str | None:
        """Count a new connection, which waits for a head; return the code of its refusal if it may not stay."""
        self._count += 1
        connection.waits_in = self.heads
        self.heads[connection] = time.monotonic()
        if not self._sweeps:
            self._sweeps = True
            asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)
        if self._addresses.opened(connection.client) > self._bounds.most_of_address:
            return self._noted("too_many_of_address")
        if self._count > self._bounds.most and not self._make_room():
            return self._noted("too_many_connections")
        return None

    def closed(self, connection: Connection) -> None:
        """Count a connection no longer."""
        if connection.waits_in is not self.refused:
            self._discount(connection)
        self.proceed(connection)
        self._unsent.pop(connection, None)

    def refuse(self, connection: Connection) -> bool:
        """Count a client no longer, to which a refusal was written; return whether it may take its time to read it."""
        if connection.waits_in is not self.refused:
            self._discount(connection)
            self.wait(connection, self.refused)
        return len(self.refused) <= self._bounds.most_refused

    def _discount(self, connection: Connection) -> None:
        self._count -= 1
        self._addresses.closed(connection.client)

    def wait(self, connection: Connection, queue: Queue) -> None:
        """Have a connection wait from now on."""
        self.proceed(connection)
        connection.waits_in = queue
        queue[connection] = time.monotonic()

    def proceed(self, connection: Connection) -> None:
        """A connection waits no longer."""
        if connection.waits_in is not None:
            connection.waits_in.pop(connection, None)
            connection.waits_in = None

    def unsent(self, connection: Connection) -> None:
        """Watch that a client takes what is on its way to it."""
        if connection not in self._unsent:
            self._unsent[connection] = (time.monotonic(), connection.transport.get_write_buffer_size())

    def sent(self, connection: Connection) -> None:
        """Watch no longer what is on its way to a client."""
        self._unsent.pop(connection, None)

    def admits_socket(self) -> bool:
        """Tell whether another WebSocket may be opened, of which nobody knows yet whether it has a key."""
        is_full = len(self.sockets) >= max(1, self._bounds.most_strangers // SOCKETS_SHARE)
        return not is_full or self._drop_few(time.monotonic(), self.sockets)

    def _sweep(self) -> None:
        now_s = time.monotonic()
        self._dropped = 0
        for queue in (self.heads, self.idle, self.bodies, self.refused):
            for connection in queue.older_than(now_s - queue.limit_s):
                connection.time_out()
        while len(self.heads) + len(self.bodies) + len(self.sockets) > self._bounds.most_strangers:
            if not self._drop_few(now_s, self.heads, self.bodies, self.sockets):
                break
        self._cut_unread(now_s)
        self._sweeps = bool(self._count or self.refused)
        if self._sweeps:
            asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)

    def _make_room(self) -> bool:
        while self.idle:
            connection = next(iter(self.idle))
            self.proceed(connection)
            if not connection.transport.is_closing():
                connection.transport.close()
                return True
        return self._drop_stranger(time.monotonic() - HASTE_S, self.heads, self.bodies, self.sockets)

    def _drop_few(self, now_s: float, *queues: Queue) -> bool:
        """Do as `_drop_stranger`, but a limited number of times between two sweeps."""
        self._dropped += 1
        return self._dropped <= MOST_DROPPED and self._drop_stranger(now_s - PATIENCE_S, *queues)

    def _drop_stranger(self, since_s: float, *queues: Queue) -> bool:
        """Close the connection that waits longest in these queues; return whether one waits since then or longer."""
        queue = min(queues, key=Queue.oldest_s)
        if queue.oldest_s() > since_s:
            return False
        connection = next(iter(queue))
        self.proceed(connection)
        connection.transport.abort()
        self._noted("too_many_strangers")
        return True

    def _cut_unread(self, now_s: float) -> None:
        """Cut clients that take nothing of their answers; where all is too much, also who took nothing just now."""
        left_bytes = 0
        for connection, (since_s, before_bytes) in tuple(self._unsent.items()):
            unsent_bytes = connection.transport.get_write_buffer_size()
            if not unsent_bytes:
                del self._unsent[connection]
            elif unsent_bytes != before_bytes:
                self._unsent[connection] = (now_s, unsent_bytes)
            elif now_s - since_s >= self._bounds.send_timeout_s:
                self._cut(connection)
                continue
            left_bytes += unsent_bytes
        if left_bytes > self._bounds.unsent_bytes:
            for connection, (since_s, unsent_bytes) in tuple(self._unsent.items())[:MOST_DROPPED]:
                if left_bytes > self._bounds.unsent_bytes and now_s - since_s >= PATIENCE_S:
                    left_bytes -= unsent_bytes
                    self._cut(connection)

    def _cut(self, connection: Connection) -> None:
        del self._unsent[connection]
        counters.count("refused", "unread")
        connection.transport.abort()

    def _noted(self, code: str) -> str:
        """Log a refusal, but only one in a while: there may be thousands."""
        now_s = time.monotonic()
        if self._logged_s is None or now_s - self._logged_s > LOG_AGAIN_S:
            self._logged_s = now_s
            logger.warning(
                "a connection was refused (%s): %d are open of at most %d (MIDSTREAM_MAX_CONNECTIONS), and at most %d "
                "of one address; %d clients have sent no whole request or shown no key",
                code,
                self._count,
                self._bounds.most,
                self._bounds.most_of_address,
                len(self.heads) + len(self.bodies) + len(self.sockets),
            )
        if code == "too_many_strangers":  # the others are answered, and counted then
            counters.count("refused", code)
        return code
