"""How a process connects to Redis: every wait is bounded, a cancellation is never lost, a demoted server is left."""

import asyncio
import time
import weakref
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from midstream import counters
from midstream.log.cluster import ClusterRedis
from midstream.log.cluster_keys import ClusterKeys
from midstream.log.keys import Keys
from midstream.log.redis_errors import DEMOTED, code_of
from midstream.log.sentinels import Sentinels
from midstream.redis_address import ClusterAddress, SentinelAddress

REDIAL_S: Final = 1.0
"""The shortest time between two rounds of dialling, while the address still leads to a server that was demoted."""


class Address:
    """What all connections of a process to one URL share: the present round of dialling.

    A planned failover leaves the old connections open, but their server is a read-only replica from then on; only a
    new connection leads to the new primary. When one connection gets such an answer, all of them are dialled anew,
    whichever pool or thread they belong to: connections that only read never get it. So they are when Sentinels name
    another primary to one that dials: the server of the others may be silent or cut off.
    """

    def __init__(self) -> None:
        self.round = 0
        self._place: tuple[str, int] | None = None
        self._begun_s = -REDIAL_S
        self._handed_over: weakref.WeakSet[Bounded] = weakref.WeakSet()

    def demoted(self, connection: "Bounded") -> None:
        """Begin a new round, because the server of a connection of the present one is not the primary."""
        if connection.dialled_in == self.round:
            self._begin()

    def leads_to(self, place: tuple[str, int]) -> None:
        """Note host and port of the primary, as Sentinels name them; begin a new round if it has moved."""
        if place != self._place and (self._place is None or self._begin()):
            self._place = place

    def _begin(self) -> bool:
        """Begin a new round, and return whether the last one is so old that this is right."""
        now_s = time.monotonic()
        if now_s - self._begun_s < REDIAL_S:
            return False
        self.round += 1
        self._begun_s = now_s
        for other in tuple(self._handed_over):
            other.abort()
        return True

    def handed_over(self, connection: "Bounded") -> None:
        """Note a connection that no pool looks after any more, so that a new round can break it."""
        self._handed_over.add(connection)


_addresses: weakref.WeakValueDictionary[str, Address] = weakref.WeakValueDictionary()


class Bounded(AbstractConnection):
    """A connection that bounds each command by `timeout_s`, in place of redis-py's `socket_timeout`.

    redis-py wraps each send in `asyncio.wait_for`. That costs a task for each command and, before Python 3.12, loses a
    cancellation that arrives just as the send is done: the cancelled task never ends.
    """

    timeout_s: float
    address: Address
    sentinels: Sentinels | None
    dialled_in: int = 0
    _loop: asyncio.AbstractEventLoop

    async def _connect(self) -> None:
        counters.count("redis_connects")
        self._loop = asyncio.get_running_loop()
        if self.sentinels is not None:
            self.host, self.port = place = await self.sentinels.primary()
            self.address.leads_to(place)
        self.dialled_in = self.address.round
        try:
            await super()._connect()  # type: ignore[safe-super, no-untyped-call]  # of the class that the URL chose
        except (OSError, RedisError):
            if self.sentinels is not None:
                self.sentinels.doubt()
            raise

    async def on_connect(self) -> None:
        """Greet the server, and refuse one that Sentinels have named although it is a replica: they may be late."""
        await super().on_connect()
        if self.sentinels is None:
            return
        await self.send_command("INFO", "replication", check_health=False)
        if b"role:master" not in await self.read_response():
            self.sentinels.doubt()
            raise RedisConnectionError(f"{self.host}:{self.port} is a replica, and the Sentinels name no other primary")

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
        except RuntimeError as error:  # uvloop's error for a transport that was closed just now
            await self.disconnect(nowait=True)
            raise RedisConnectionError(str(error)) from error

    def pack_command(self, *args: Any) -> list[bytes]:
        """Pack a command by hiredis: redis-py packs each word in Python, which took half of a busy reaper's time."""
        name, *words = args
        parts = name.encode().split() if isinstance(name, str) else name.split()  # as in `CONFIG GET`
        return [hiredis.pack_command((*parts, *words))]

    async def read_response(self, *args: Any, timeout: float | None = None, **options: Any) -> Any:  # noqa: ASYNC109
        """Return a reply; None if the caller gave a `timeout` and it has run out.

        Raises:
            redis.exceptions.TimeoutError: There was no reply within `timeout_s`; the connection is closed.
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
        """Close the connection if it was dialled in an earlier round; its next use dials it anew."""
        if self.dialled_in != self.address.round:
            self._close()  # type: ignore[no-untyped-call]

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Give the connected transport to a protocol of the caller; `disconnect` still closes it."""
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
    """A pool that can shrink again, and gives out no connection of an earlier round.

    Attributes:
        waits: How often a caller found no free connection.
    """

    waits = 0

    def can_get_connection(self) -> bool:
        """Tell whether there is a connection for a caller, who waits otherwise."""
        can: bool = super().can_get_connection()
        if not can:
            self.waits += 1
        return can

    @property
    def in_use(self) -> int:
        """How many connections callers hold."""
        return len(self._in_use_connections)

    def ensure_connection(self, connection: Any) -> Coroutine[Any, Any, None]:
        """Return the coroutine that connects a connection which is about to be given out."""
        connection.hang_up_if_old()
        ensured: Coroutine[Any, Any, None] = super().ensure_connection(connection)
        return ensured

    async def shed(self, keep: int) -> None:
        """Close idle connections until `keep` are left; those that were idle for longest go first."""
        while len(self._available_connections) > keep:
            await self._available_connections.pop(0).disconnect()


def servers_of(redis: Redis) -> list[Redis]:
    """Return the client itself, or those of the nodes of a cluster that hold keys."""
    return redis.nodes.primaries() if isinstance(redis, ClusterRedis) else [redis]


def keys_of(redis: Redis, prefix: str) -> Keys:
    """Return the names of keys on a client's server, under one prefix."""
    return ClusterKeys(prefix) if isinstance(redis, ClusterRedis) else Keys(prefix)


async def shed(redis: Redis, keep: int = 1) -> None:
    """Close a client's idle connections except `keep`, so that those of a burst do not stay."""
    for server in servers_of(redis):
        if isinstance(server.connection_pool, _Pool):
            await server.connection_pool.shed(keep)


def pool_readings(*clients: Redis) -> dict[str, int]:
    """Return how many connections of these clients are in use, how many there may be, and how often none was free."""
    servers = [server for client in clients for server in servers_of(client)]
    pools = [server.connection_pool for server in servers if isinstance(server.connection_pool, _Pool)]
    return {
        "in_use": sum(pool.in_use for pool in pools),
        "max": sum(pool.max_connections for pool in pools),
        "waits": sum(pool.waits for pool in pools),
    }


def has_sentinels(redis: Redis) -> bool:
    """Tell whether Sentinels name this client's server, so that another one may take its place."""
    return getattr(redis.connection_pool.connection_class, "sentinels", None) is not None


def connect(url: str, timeout_s: float, connections: int) -> Redis:
    """Return a client whose waits and whose pool are bounded; redis-py bounds neither (docs/findings.md: redis-py).

    Nothing is repeated here: a write whose reply was lost would count twice.

    Raises:
        ValueError: The URL of Sentinels, or that of a cluster, lacks something.
    """
    cluster_address = ClusterAddress.of(url)
    if cluster_address is not None:
        # Only this parser makes errors of their own classes of MOVED, ASK and TRYAGAIN.
        of_node = partial(_connect, timeout_s=timeout_s, connections=connections, parser_class=ClusterParser)
        return ClusterRedis(cluster_address, of_node, timeout_s)
    return _connect(url, timeout_s, connections)


def _connect(url: str, timeout_s: float, connections: int, **further: Any) -> Redis:
    options: dict[str, Any] = {} if urlsplit(url).scheme == "unix" else {"socket_keepalive": True}
    sentinel_address = SentinelAddress.of(url)
    pool = _Pool.from_url(
        sentinel_address.primary_url if sentinel_address else url,
        max_connections=connections,
        timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=15,
        lib_name=None,  # Redis 7.0 has no `CLIENT SETINFO`, so no list of commands could name it
        lib_version=None,
        **options,
        **further,
    )
    # The URL has chosen a class: plain, TLS or a Unix socket. That class connects, so it comes after ours in the order
    # of bases.
    shared = {
        "timeout_s": timeout_s,
        "address": _addresses.setdefault(url, Address()),
        "sentinels": Sentinels(sentinel_address, timeout_s) if sentinel_address else None,
    }
    pool.connection_class = type("Bounded", (Bounded, pool.connection_class), shared)
    return Redis.from_pool(pool)
