"""One pub/sub connection for a whole process: what was appended, as it is appended.

redis-py's own PubSub costs several times as much per message, has no answer to a connection that went
dead without a word, and does not say when messages may have been missed. This one reads its connection
directly, pings when it is silent, and reports each gap.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import Connection
from redis.exceptions import RedisError

from broker.log.errors import LogUnavailable

logger = logging.getLogger(__name__)

PING_AFTER_S: Final = 5.0
"""Silence after which the server is asked for a sign of life; as much again, and the connection is given up."""
REST_S: Final = 0.002
"""Rest between reads while messages come faster than this."""
BACKOFF_S: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Feed:
    """Hands each message on a subscribed channel to `deliver`, in order.

    Messages are lost whenever the connection is: then all channels are subscribed again and `regained` is
    called, and the owner has to read what it may have missed.
    """

    def __init__(
        self, redis: Redis, deliver: Callable[[str, bytes], None], regained: Callable[[], None], timeout_s: float
    ) -> None:
        self._redis = redis
        self._deliver = deliver
        self._regained = regained
        self._timeout_s = timeout_s
        self._channels: set[str] = set()
        self._acks: dict[str, asyncio.Future[None]] = {}
        self._connection: Connection | None = None
        self._missing = 0
        self._read_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._task = asyncio.create_task(self._run(), name="feed")

    async def stop(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def subscribe(self, channel: str) -> None:
        """Return once the server has confirmed that it will send what is published from now on.

        Raises:
            LogUnavailable: It did not confirm in time; the channel is not subscribed.
        """
        ack = self._acks.get(channel)
        if ack is None:
            ack = self._acks[channel] = asyncio.get_running_loop().create_future()
            self._channels.add(channel)
            await self._send("SUBSCRIBE", channel)
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.shield(ack)
        except TimeoutError as error:
            await self.unsubscribe(channel)
            raise LogUnavailable(f"{channel} could not be subscribed") from error

    async def unsubscribe(self, channel: str) -> None:
        """Stop listening to a channel."""
        self._channels.discard(channel)
        ack = self._acks.pop(channel, None)
        if ack is not None:
            ack.cancel()
        await self._send("UNSUBSCRIBE", channel)

    async def _send(self, *command: str) -> None:
        if self._connection is None:
            return  # the next connection subscribes to what is wanted by then
        try:
            await self._connection.send_command(*command, check_health=False)
        except (RedisError, OSError) as error:
            logger.debug("feed: %s was not sent: %s", command[0], error)  # the reader sees the same failure

    async def _run(self) -> None:
        failures = 0
        while True:
            connection: Connection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                failures = 0
                await self._listen(connection)
            except (RedisError, OSError) as error:
                logger.warning("feed: connection lost: %s", error)
            finally:
                self._connection = None
                await connection.disconnect()
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    async def _listen(self, connection: Connection) -> None:
        self._connection = connection
        self._missing = len(self._channels)
        if self._channels:
            await connection.send_command("SUBSCRIBE", *self._channels, check_health=False)
        else:
            self._regained()
        pinged = False
        while True:
            reply = await connection.read_response(timeout=PING_AFTER_S)
            if reply is not None:
                pinged = False
                self._take(reply)
                await self._rest(connection)
            elif pinged:
                raise LostError
            else:
                pinged = True
                await connection.send_command("PING", check_health=False)

    async def _rest(self, connection: Connection) -> None:
        """Rest where messages come faster than `REST_S`, so that one wake-up serves many of them.

        Only when all that was read is handled, and only for what is left of the time since the last read: a
        message that comes after a pause never waits, and a feed that is behind never sleeps.
        """
        # redis-py does not say whether another reply is here already; its parser's reader does.
        reader = getattr(connection._parser, "_reader", None)  # noqa: SLF001
        if reader is not None and reader.has_data():
            return
        now_s = asyncio.get_running_loop().time()
        left_s = self._read_s + REST_S - now_s
        self._read_s = now_s
        if left_s > 0:
            await asyncio.sleep(left_s)

    def _take(self, reply: Any) -> None:
        if not isinstance(reply, list):
            return  # PONG outside of subscribed mode
        kind, *rest = reply
        if kind == b"message":
            self._deliver(rest[0].decode(), rest[1])
        elif kind == b"subscribe":
            ack = self._acks.get(rest[0].decode())
            if ack is not None and not ack.done():
                ack.set_result(None)
            if self._missing:
                self._missing -= 1
                if not self._missing:
                    self._regained()


class LostError(OSError):
    """The server gave no sign of life."""

    def __init__(self) -> None:
        super().__init__(f"no reply to a ping within {PING_AFTER_S} s")
