"""What is sent on one WebSocket: tails and answers take turns, at the client's pace (PROTOCOL: Ws/Slow)."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from midstream import counters
from midstream.hub.tail import Tail

logger = logging.getLogger(__name__)


class Pace:
    """Lets a socket's messages be read at a steady rate; those of one second may come at once (PROTOCOL: Limits/Pace).

    `per_s` of 0 is no limit.
    """

    def __init__(self, per_s: int) -> None:
        self._interval_s = 1 / per_s if per_s else 0.0
        self._used_s = 0.0

    async def turn(self) -> None:
        """Wait until the next message may be read."""
        now_s = asyncio.get_running_loop().time()
        self._used_s = max(self._used_s, now_s - 1) + self._interval_s
        if self._used_s > now_s:
            counters.count("limit_exceeded", "socket", "messages_per_second")
            await asyncio.sleep(self._used_s - now_s)


class Outbox:
    """Sends one message at a time. It holds at most one message of each tail, and one answer."""

    def __init__(self, socket: WebSocket, timeout_s: float) -> None:
        self._socket = socket
        self._timeout_s = timeout_s
        self._waiting: deque[tuple[bytes, Callable[[], None] | None]] = deque()
        self._filled = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    def put(self, message: bytes, sent: Callable[[], None] | None = None) -> None:
        """Take a message; `sent` is called once it was handed to the ASGI server."""
        self._waiting.append((message, sent))
        self._filled.set()

    async def answer(self, **message: Any) -> None:
        """Send an answer and wait until it is sent, so that a client that reads none is read from no more."""
        sent = asyncio.Event()
        self.put(orjson.dumps({name: value for name, value in message.items() if value is not None}), sent.set)
        await sent.wait()

    def cut(self) -> None:
        """Send no more."""
        if self._sending is not None:
            self._sending.cancel()

    async def run(self) -> None:
        """Send until the client is gone, or takes nothing for too long."""
        self._sending = asyncio.current_task()
        try:
            await self._run()
        finally:
            self._sending = None  # else the two of them would wait for the garbage collector

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._waiting:
                message, sent = self._waiting.popleft()
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await self._socket.send_text(message.decode())
                except TimeoutError:
                    counters.count("limit_exceeded", "socket", "send_timeout")
                    logger.info("a socket took nothing for %g s and was cut", self._timeout_s)
                    return
                except (WebSocketDisconnect, RuntimeError, OSError) as error:
                    logger.debug("a socket broke: %r", error)
                    return
                if sent is not None:
                    sent()


class SocketSink:
    """One stream's tail on a socket."""

    tail: Tail

    def __init__(self, outbox: Outbox, stream_id: str, left: Callable[["SocketSink"], None]) -> None:
        self.ready = True
        self._outbox = outbox
        self._head = b'{"type":"entries","id":"%b","entries":[' % stream_id.encode()
        self._stream_id = stream_id
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
                error = {"code": "internal", "message": "The tail failed here; tail again.", "id": self._stream_id}
                self._outbox.put(orjson.dumps({"type": "error", **error}))
            self._outbox.put(orjson.dumps({"type": "closed", "id": self._stream_id}))
            self._left(self)
