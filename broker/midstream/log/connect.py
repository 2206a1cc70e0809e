"""How a process is connected to Redis: every wait bounded, every cancellation heard."""

import asyncio
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


class Bounded(Connection):
    """Bounds each command by `timeout_s`, in place of redis-py's `socket_timeout`.

    That one wraps each send in `asyncio.wait_for`, which costs a task per command and, before Python 3.12,
    swallows a cancellation that arrives just as the send is done: the cancelled task goes on for ever.
    """

    timeout_s: float

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

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Give the connected transport to a protocol of the caller's; `disconnect` still closes it."""
        transport = self._writer.transport  # type: ignore[union-attr]
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    async def _give_up(self, what: str) -> None:
        await self.disconnect(nowait=True)
        raise RedisTimeoutError(f"no command {what} within {self.timeout_s:g} s")


class _Pool(BlockingConnectionPool):
    """A pool that can shrink again."""

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
    pool = _Pool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        health_check_interval=15,
    )
    # The URL chose the class: plain, TLS or a Unix socket.
    bounds = {"timeout_s": timeout_s}
    pool.connection_class = type("Bounded", (Bounded, pool.connection_class), bounds)
    return Redis.from_pool(pool)
