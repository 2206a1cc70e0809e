"""How a process is connected to Redis: every wait bounded, every cancellation heard, no demoted server kept."""

import asyncio
import time
import weakref
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from midstream.log.redis_errors import DEMOTED, code_of

REDIAL_S: Final = 1.0
"""Shortest time between two rounds of dialling anew, while the address still leads to a server that is demoted."""


class Address:
    """What all connections of a process to one URL share: the round in which they have to have been dialled.

    A planned failover leaves the old connections open, and the server behind them a read-only replica; only who
    dials anew is led to the new primary. One connection that is told so speaks for all of them, whichever pool or
    thread they belong to: readers are never told.
    """

    def __init__(self) -> None:
        self.round = 0
        self._begun_s = -REDIAL_S
        self._handed_over: weakref.WeakSet[Bounded] = weakref.WeakSet()

    def demoted(self, connection: "Bounded") -> None:
        """Begin a new round, because a connection of the present one was told that its server is not the primary."""
        now_s = time.monotonic()
        if connection.dialled_in != self.round or now_s - self._begun_s < REDIAL_S:
            return
        self.round += 1
        self._begun_s = now_s
        for other in tuple(self._handed_over):
            other.abort()

    def handed_over(self, connection: "Bounded") -> None:
        """Know a connection that no pool looks at any more."""
        self._handed_over.add(connection)


_addresses: weakref.WeakValueDictionary[str, Address] = weakref.WeakValueDictionary()


class Bounded(AbstractConnection):
    """Bounds each command by `timeout_s`, in place of redis-py's `socket_timeout`.

    That one wraps each send in `asyncio.wait_for`, which costs a task per command and, before Python 3.12,
    swallows a cancellation that arrives just as the send is done: the cancelled task goes on for ever.
    """

    timeout_s: float
    address: Address
    dialled_in: int = 0
    _loop: asyncio.AbstractEventLoop

    async def _connect(self) -> None:
        self.dialled_in = self.address.round
        self._loop = asyncio.get_running_loop()
        await super()._connect()  # type: ignore[safe-super, no-untyped-call]  # of the class that the URL chose

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send a command.

        Raises:
            redis.exceptions.TimeoutError: The server did not take it in time; the connection is closed.
            redis.exceptions.ConnectionError: The connection broke.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                await super().send_packed_command(command, check_health)
        except TimeoutError:
            await self._give_up("sent")
        except RuntimeError as error:  # how uvloop says that the transport has just been closed
            await self.disconnect(nowait=True)
            raise RedisConnectionError(str(error)) from error

    def pack_command(self, *args: Any) -> list[bytes]:
        """Pack a command by hiredis: redis-py packs each word in Python, which took half of a busy reaper's time."""
        name, *further = args
        words = name.encode().split() if isinstance(name, str) else name.split()  # as in `CONFIG GET`
        return [hiredis.pack_command((*words, *further))]

    async def read_response(self, *args: Any, timeout: float | None = None, **options: Any) -> Any:  # noqa: ASYNC109
        """Return a reply, or None where a `timeout` of the caller's own has run out.

        Raises:
            redis.exceptions.TimeoutError: There was no reply in time; the connection is closed.
        """
        if timeout is not None:
            return await super().read_response(*args, timeout=timeout, **options)  # type: ignore[misc]
        try:
            async with asyncio.timeout(self.timeout_s):
                return await super().read_response(*args, **options)
        except TimeoutError:
            await self._give_up("answered")
        except ResponseError as error:
            if code_of(error) in DEMOTED:
                self.address.demoted(self)
            raise

    def hang_up_if_old(self) -> None:
        """Close the connection if it was dialled in an earlier round; it is dialled anew when it is used."""
        if self.dialled_in != self.address.round:
            self._close()  # type: ignore[no-untyped-call]

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Give the connected transport to a protocol of the caller's; `disconnect` still closes it."""
        transport = self._writer.transport  # type: ignore[union-attr]
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self.address.handed_over(self)

    def abort(self) -> None:
        """Break a connection that was handed over; called from any thread."""
        if self._writer is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._writer.transport.abort)

    async def _give_up(self, what: str) -> None:
        await self.disconnect(nowait=True)
        raise RedisTimeoutError(f"no command {what} within {self.timeout_s:g} s")


class _Pool(BlockingConnectionPool):
    """A pool that can shrink again, and gives out no connection of an earlier round."""

    def ensure_connection(self, connection: Any) -> Coroutine[Any, Any, None]:
        """Return the coroutine that connects a connection which is about to be given out."""
        connection.hang_up_if_old()
        ensured: Coroutine[Any, Any, None] = super().ensure_connection(connection)
        return ensured

    async def shed(self, keep: int) -> None:
        """Close idle connections, those first that were idle for longest; keep so many."""
        while len(self._available_connections) > keep:
            await self._available_connections.pop(0).disconnect()


async def shed(redis: Redis, keep: int = 1) -> None:
    """Close a client's idle connections but for so many: what a burst has opened is not kept for ever."""
    pool = redis.connection_pool
    if isinstance(pool, _Pool):
        await pool.shed(keep)


def connect(url: str, timeout_s: float, connections: int) -> Redis:
    """Return a client with every wait and the pool bounded (docs/findings.md: redis-py. It bounds neither by itself).

    Nothing is retried here: a repeated write whose first reply was lost would count twice.
    """
    options: dict[str, Any] = {} if urlsplit(url).scheme == "unix" else {"socket_keepalive": True}
    pool = _Pool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=15,
        **options,
    )
    # The URL chose the class, plain, TLS or a Unix socket: it does the connecting, so it comes after ours in the order.
    shared = {"timeout_s": timeout_s, "address": _addresses.setdefault(url, Address())}
    pool.connection_class = type("Bounded", (Bounded, pool.connection_class), shared)
    return Redis.from_pool(pool)
