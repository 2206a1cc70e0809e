"""Writes a tail's chunks by ASGI's `send`: the plain way, for any ASGI server and under any middleware."""

import asyncio
import logging
from typing import Final

from starlette.types import Send

from midstream import counters
from midstream.http.tails.gzip_member import GzipMember
from midstream.hub.sender import Sender

logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 16_384
"""A chunk is sent in pieces of this size, so that a slow client is seen to take some of it."""


class SendSink:
    """Has `run`, in a task of its own, await `send` for one chunk after the other.

    Attributes:
        ready: The ASGI server has taken the last chunk.
        sent: The ASGI server has taken all of the response.
        task: Where `run` runs. Cancelled, it leaves the response incomplete, and the ASGI server closes the connection.
    """

    task: asyncio.Task[None]

    def __init__(self, tail: Sender, timeout_s: float) -> None:
        self.tail = tail
        self.ready = True
        self.sent = False
        self._timeout_s = timeout_s
        self._chunk = b""
        self._closed = False
        self._changed = asyncio.Event()

    def write(self, chunk: bytes) -> None:
        """Have a chunk sent."""
        self.ready = False
        self._chunk = chunk
        self._changed.set()

    def close(self) -> None:
        """Have the response ended after what is on its way; if the tail has failed, have it cut."""
        self._closed = True
        self._changed.set()
        if self.tail.failed:
            self.cut()

    def cut(self) -> None:
        """End the response in the middle."""
        self.task.cancel()

    async def run(self, send: Send) -> None:
        """Send until the tail is closed, or the client has taken nothing for `timeout_s`."""
        try:
            while not self._closed or self._chunk:
                await self._changed.wait()
                self._changed.clear()
                if self._chunk:
                    for start in range(0, len(self._chunk), PIECE_BYTES):
                        await self._take(send, self._chunk[start : start + PIECE_BYTES])
                    self._chunk = b""
                    self.ready = True
                    self.tail.pump()
            if rest := self._rest():
                await self._take(send, rest)
            await self._take(send, b"")
            self.sent = True
        except TimeoutError:
            counters.count("limit_exceeded", "tail", "send_timeout")
            logger.info("a tail took nothing for %g s and was cut", self._timeout_s)
        except OSError as error:
            logger.debug("a tail's connection broke: %r", error)

    def _rest(self) -> bytes:
        """Return what the body ends with."""
        return b""

    async def _take(self, send: Send, piece: bytes) -> None:
        """Have the ASGI server take a piece, the empty one as the end. While `send` has to wait, this is a laggard."""
        lags = asyncio.get_running_loop().call_soon(self.tail.lagging.add, self, len(self._chunk))
        try:
            async with asyncio.timeout(self._timeout_s):
                await send({"type": "http.response.body", "body": piece, "more_body": bool(piece)})
        finally:
            lags.cancel()
            self.tail.lagging.remove(self)


class GzipSendSink(SendSink):
    """The same, compressed (PROTOCOL: Read/Compressed)."""

    def __init__(self, tail: Sender, timeout_s: float, member: GzipMember) -> None:
        super().__init__(tail, timeout_s)
        self._member = member

    def write(self, chunk: bytes) -> None:
        """Have a chunk sent, compressed."""
        super().write(self._member.add(chunk, self.tail.deflated(chunk)))

    def begin(self) -> None:
        """Have the opening sent, if no chunk was yet that it leads."""
        if head := self._member.begin():
            super().write(head)

    def _rest(self) -> bytes:
        return self._member.end()
