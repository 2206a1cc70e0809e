"""What is sent on one WebSocket: tails and answers take turns, at the client's pace (PROTOCOL: Ws/Slow)."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from midstream import counters
from midstream.hub.tail import Tail
from midstream.service.thread_tail import ThreadTail

logger = logging.getLogger(__name__)

TailName = tuple[Literal["id", "thread"], str]
"""What a tail reads: the field that names it in messages, and the stream's id or the thread."""


EARLY_S: Final = 0.05
"""A message may be read so much earlier than its pace is, so that one wait serves several of them."""


class Pace:
    """Lets a socket's messages be read at a steady rate; those of one second may come at once (PROTOCOL: Limits/Pace).

    `per_s` of 0 is no limit.
    """

    def __init__(self, per_s: int) -> None:
        self._interval_s = 1 / per_s if per_s else 0.0
        self._used_s = 0.0

    async def turn(self) -> None:
        """Wait until the next message may be read."""
        wait_s = self.wait_s(asyncio.get_running_loop().time())
        if wait_s:
            counters.count("limit_exceeded", "socket", "messages_per_second")
            await asyncio.sleep(wait_s)

    def wait_s(self, now_s: float) -> float:
        """Count a message, and return for how long it has to wait."""
        self._used_s = max(self._used_s, now_s - 1 + EARLY_S) + self._interval_s
        return self._used_s - now_s if self._used_s > now_s + EARLY_S else 0.0


class Outbox:
    """Sends one message at a time. It holds at most one message of each tail, and one answer.

    An answer is sent by the task that asks for it where nothing else is to be sent, which is half as dear as to wake
    the task of `run`. What is sent then waits for the client, or not, in the same way.
    """

    def __init__(self, socket: WebSocket, timeout_s: float) -> None:
        self._socket = socket
        self._timeout_s = timeout_s
        self._waiting: deque[tuple[bytes, Callable[[], None] | None]] = deque()
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sends_since_s: float | None = None
        """When the message that is on its way was begun; None: there is none."""
        self._timer: asyncio.TimerHandle | None = None

    def put(self, message: bytes, sent: Callable[[], None] | None = None) -> None:
        """Take a message; `sent` is called once it was handed to the ASGI server."""
        self._waiting.append((message, sent))
        self._filled.set()

    async def answer(self, **message: Any) -> None:
        """Send an answer and wait until it is sent, so that a client that reads none is read from no more.

        Does not return where the socket breaks meanwhile: the caller's task is cancelled with that of `run`.
        """
        content = orjson.dumps({name: value for name, value in message.items() if value is not None})
        if self._sends_since_s is None and not self._waiting:
            if await self._send(content):
                return
            self.cut()
        sent = asyncio.Event()
        self.put(content, sent.set)
        await sent.wait()

    def cut(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Send until the client is gone, or takes nothing for too long."""
        self._task = asyncio.current_task()
        try:
            await self._run()
        finally:
            self._task = None  # else the two of them would wait for the garbage collector
            if self._timer is not None:
                self._timer.cancel()

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._waiting and self._sends_since_s is None:
                message, sent = self._waiting.popleft()
                if not await self._send(message):
                    return
                if sent is not None:
                    sent()

    async def _send(self, message: bytes) -> bool:
        """Send a message; return False if the client is gone."""
        loop = asyncio.get_running_loop()
        self._sends_since_s = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._look)
        try:
            await self._socket.send_text(message.decode())
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            logger.debug("a socket broke: %r", error)
            return False
        finally:
            self._sends_since_s = None
            if self._waiting:
                self._filled.set()
        return True

    def _look(self) -> None:
        """Cut a client that has taken nothing for too long. One timer serves all messages of its time."""
        self._timer = None
        if self._sends_since_s is None:
            return
        loop = asyncio.get_running_loop()
        left_s = self._sends_since_s + self._timeout_s - loop.time()
        if left_s > 0:
            self._timer = loop.call_later(left_s, self._look)
            return
        counters.count("limit_exceeded", "socket", "send_timeout")
        logger.info("a socket took nothing for %g s and was cut", self._timeout_s)
        self.cut()


class SocketSink:
    """One tail on a socket; `left` is called when it has closed and the client was told so."""

    def __init__(
        self, outbox: Outbox, name: TailName, tail: Tail | ThreadTail, left: Callable[["SocketSink"], None]
    ) -> None:
        self.ready = True
        self.name = name
        self.tail = tail
        self._outbox = outbox
        self._head = orjson.dumps({"type": "entries", name[0]: name[1]})[:-1] + b',"entries":['
        self._left = left
        self._closed = False
        self._dropped = False

    def write(self, chunk: bytes) -> None:
        """Send a chunk: objects, each with a comma after it."""
        self.ready = False
        self.tail.lagging.add(self, len(chunk))
        self._outbox.put(self._head + chunk[:-1] + b"]}", self._go_on)

    def close(self) -> None:
        """Announce that nothing more comes, after the message that is on its way."""
        self._closed = True
        if self.ready:
            self._announce_close()

    def drop(self) -> None:
        """Close and announce nothing: another tail takes this one's place, or the socket is gone."""
        self._dropped = True
        self.tail.lagging.remove(self)
        self.tail.close()

    def cut(self) -> None:
        """Close the socket at once, with all of its tails: a message that is on its way cannot be taken back."""
        self._outbox.cut()

    def _go_on(self) -> None:
        self.ready = True
        self.tail.lagging.remove(self)
        if self._closed:
            self._announce_close()
        else:
            self.tail.pump()

    def _announce_close(self) -> None:
        if not self._dropped:
            if self.tail.failed:  # otherwise what was sent would look whole
                error = {"code": "internal", "message": "The tail failed here; tail again."}
                self._outbox.put(orjson.dumps({"type": "error", **error, self.name[0]: self.name[1]}))
            self._outbox.put(orjson.dumps({"type": "closed", self.name[0]: self.name[1]}))
            self._left(self)
