"""One pub/sub connection for a whole process, by which it gets what is appended to streams.

redis-py's own PubSub costs several times as much for each message, does not notice a connection that has gone dead, and
does not say when messages may have been missed. Here redis-py opens the connection and greets the server. Then its
transport is read by a protocol of our own, with hiredis' parser.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from midstream import counters
from midstream.log.connect import Bounded
from midstream.log.errors import LogUnavailable
from midstream.log.feed_rest import FeedRest
from midstream.log.forever import forever

logger = logging.getLogger(__name__)

PING_AFTER_S: Final = 5.0
"""After so much silence the server is sent a ping; after as much again the connection is given up."""
BACKOFF_S: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Feed:
    """Hands what is published to `deliver`: channels and messages in order, as many at a time as came together.

    When the connection is lost, messages are lost. Then all channels are subscribed again and `regained` is called, and
    the owner has to read what it may have missed.
    """

    def __init__(
        self,
        redis: Redis,
        deliver: Callable[[list[tuple[str, bytes]]], None],
        regained: Callable[[], None],
        timeout_s: float,
    ) -> None:
        self._redis = redis
        self._deliver = deliver
        self._regained = regained
        self._timeout_s = timeout_s
        self._channels: set[str] = set()
        self._acks: dict[str, asyncio.Future[None]] = {}
        self._intake: Intake | None = None
        self._missing = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._task = asyncio.create_task(forever("feed", self._run), name="feed")

    async def stop(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def subscribe(self, channel: str) -> None:
        """Return once the server has confirmed that it sends what is published from now on.

        Raises:
            LogUnavailable: It did not confirm in time; the channel is not subscribed.
        """
        ack = self._acks.get(channel)
        if ack is None:
            ack = self._acks[channel] = asyncio.get_running_loop().create_future()
            self._channels.add(channel)
            self._ask(channel)
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.shield(ack)
        except TimeoutError as error:
            self.unsubscribe(channel)
            raise LogUnavailable(f"{channel} could not be subscribed") from error

    def unsubscribe(self, channel: str) -> None:
        """Stop listening to a channel."""
        self._channels.discard(channel)
        ack = self._acks.pop(channel, None)
        if ack is not None:
            ack.cancel()
        self._drop(channel)

    def _ask(self, channel: str) -> None:
        self._send("SUBSCRIBE", channel)

    def _drop(self, channel: str) -> None:
        self._send("UNSUBSCRIBE", channel)

    def _send(self, *command: str) -> None:
        if self._intake is not None:  # otherwise the next connection subscribes to all channels of that time
            self._intake.send(*command)

    async def _run(self) -> None:
        failures = 0
        while True:
            connection = cast("Bounded", self._redis.connection_pool.make_connection())  # type: ignore[no-untyped-call]
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                failures = 0
                await self._listen(connection)
            except (RedisError, OSError) as error:
                counters.count("feed_losses")
                logger.warning("feed: connection lost: %s", error)
            finally:
                intake, self._intake = self._intake, None
                await connection.disconnect(nowait=True)
                if intake is not None:
                    await intake.closed()
                self._lost()
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    async def _listen(self, connection: Bounded) -> None:
        intake = self._intake = Intake(self._take)
        connection.hand_over(intake)
        self._begin(intake)
        while True:
            intake.is_silent = True
            await intake.wait(PING_AFTER_S)
            if intake.is_silent:
                intake.send("PING")
                await intake.wait(PING_AFTER_S)
                if intake.is_silent:
                    raise NoReplyError

    def _begin(self, intake: "Intake", /) -> None:
        """Subscribe to all channels on a new connection."""
        self._missing = len(self._channels)
        if self._channels:
            intake.send("SUBSCRIBE", *self._channels)
        else:
            self._regained()

    def _lost(self) -> None:
        """Hear that the connection is lost, or could not be made."""

    def _take(self, replies: list[Any]) -> None:
        messages = []
        for reply in replies:
            if not isinstance(reply, list):
                continue  # PONG while no channel is subscribed
            kind, *rest = reply
            if kind == b"message":
                messages.append((rest[0].decode(), rest[1]))
            elif kind == b"subscribe":
                self._subscribed(rest[0].decode())
        self._deliver(messages)

    def _subscribed(self, channel: str) -> None:
        ack = self._acks.get(channel)
        if ack is not None and not ack.done():
            ack.set_result(None)
        if self._missing:
            self._missing -= 1
            if not self._missing:
                self._regained()


class Intake(asyncio.Protocol):
    """Reads replies off a transport, and rests between two reads while many come, so that one wake-up serves many."""

    def __init__(self, take: Callable[[list[Any]], None]) -> None:
        self.is_silent = True
        self._take = take
        self._parser = hiredis.Reader()
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport
        self._rest = FeedRest()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand on the replies that are complete."""
        self.is_silent = False
        self._parser.feed(data)
        try:
            replies = []
            while (reply := self._parser.gets()) is not False:
                replies.append(reply)
            self._take(replies)
        except Exception:
            logger.exception("feed: a reply could not be taken")  # its messages may be missing, so connect again
            self._transport.abort()
            return
        left_s = self._rest.after(len(replies), self._loop.time())
        if left_s > 0 and not self._transport.is_closing():
            self._transport.pause_reading()
            self._loop.call_later(left_s, self._resume)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the task that waits."""
        if not self._lost.done():
            self._lost.set_exception(ConnectionError(str(exc or "the server closed the connection")))
            self._lost.exception()  # marks it as retrieved, in case no task waits any more

    def send(self, *command: str) -> None:
        """Send a command, and end a rest, so that its reply is read at once."""
        if not self._transport.is_closing():
            self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]
            self._transport.resume_reading()

    async def wait(self, wait_s: float) -> None:
        """Return after `wait_s`.

        Raises:
            ConnectionError: The connection was lost before.
        """
        await asyncio.wait((self._lost,), timeout=wait_s)
        if self._lost.done():
            self._lost.result()

    async def closed(self) -> None:
        """Close the transport without sending what is still in it, and wait until it is closed."""
        self._transport.abort()
        await asyncio.wait((self._lost,))

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


class NoReplyError(OSError):
    """The server did not answer a ping."""

    def __init__(self) -> None:
        super().__init__(f"no reply to a ping within {PING_AFTER_S} s")
