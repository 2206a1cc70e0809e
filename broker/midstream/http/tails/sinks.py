"""Where a tail's chunks go: to ASGI's `send`, or past it to the connection where the server offers that.

`send` is stepped right where the entry arrived, so a thousand tails cost no thousand wake-ups; only one that
has to wait for its client gets a task (docs/findings.md: Fan-out).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, ClassVar

from starlette.types import Send

from midstream.http.fast_path.wire import Wire
from midstream.hub.tail import Tail

logger = logging.getLogger(__name__)


class SendSink:
    """Writes chunks to `send`, at most one on its way at a time.

    `cut` is called when the client has taken nothing for `timeout_s`.

    Attributes:
        sent: All of the response was taken off our hands.
    """

    __slots__ = ("_closed", "_cut", "_finished", "_pending", "_send", "_timeout_s", "ready", "sent", "tail")

    def __init__(self, send: Send, tail: Tail, timeout_s: float, cut: Callable[[], None]) -> None:
        self.ready = True
        self.tail = tail
        self._send = send
        self._timeout_s = timeout_s
        self._cut = cut
        self._pending: asyncio.Task[None] | None = None
        self._closed = self._finished = self.sent = False

    def write(self, chunk: bytes) -> None:
        """Send a chunk."""
        if chunk:
            self._step({"type": "http.response.body", "body": chunk, "more_body": True})

    def close(self) -> None:
        """End the response behind what is on its way."""
        self._closed = True
        if self.tail.failed:
            self._cut()
        elif self.ready:
            self._finish()

    def drop(self) -> None:
        """The response is over, however: forget what is on its way."""
        self.ready = False
        self.tail.lagging.remove(self)
        if self._pending is not None:
            self._pending.cancel()

    def cut(self) -> None:
        """Close the connection at once."""
        self._cut()

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            self._step({"type": "http.response.body", "body": b"", "more_body": False})
            self.sent = self.ready

    def _go_on(self) -> None:
        """The client has taken what was on its way."""
        self.ready = True
        self.tail.lagging.remove(self)
        if self._finished:
            self.sent = True
        elif self._closed:
            self._finish()
        else:
            self.tail.pump()

    def _step(self, message: dict[str, Any]) -> None:
        sending: Coroutine[Any, Any, None] = self._send(message)  # type: ignore[assignment]
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - one tail's broken connection must not reach the others
            logger.debug("a tail's connection broke: %r", error)
            self.ready = False
            return
        self.ready = False
        self._pending = asyncio.create_task(self._rest(sending, waits_for), name="slow tail")
        self.tail.lagging.add(self, len(message["body"]))

    async def _rest(self, sending: Coroutine[Any, Any, None], waits_for: Any) -> None:
        """Finish a send that has to wait for its client, then go on."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await _Resumed(sending, waits_for)
        except TimeoutError:
            self._cut()
            return
        except OSError as error:
            logger.debug("a slow tail's connection broke: %r", error)
            return
        self._pending = None
        self._go_on()


class WireSink:
    """Writes chunks to a connection that it has taken over, and gives it back behind the end.

    What may pile up in the transport is bounded by its high-water mark and one chunk. A client that has taken
    nothing for `timeout_s` is cut. `over` is called when the response is over, and told whether all of it was sent.
    """

    __slots__ = (
        "_closed",
        "_ended",
        "_over",
        "_protocol",
        "_timeout_s",
        "_timer",
        "_transport",
        "_unsent_bytes",
        "ready",
        "tail",
    )

    _last_chunk: ClassVar = b"0\r\n\r\n"
    _framed: ClassVar[tuple[bytes, bytes]] = (b"", b"")  # the last chunk: a thousand tails are given the same one

    def __init__(self, wire: Wire, tail: Tail, timeout_s: float, over: Callable[[bool], None] | None) -> None:
        self.tail = tail
        self._timeout_s = timeout_s
        self._over = over
        self._closed = self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._protocol = wire.keep(self)
        self._transport = self._protocol.transport
        self.ready = not self._transport.is_closing()  # who is gone already is sent nothing

    def write(self, chunk: bytes) -> None:
        """Write a chunk; what is written to a closed connection is dropped."""
        framed = WireSink._framed
        if framed[0] is not chunk:
            framed = WireSink._framed = (chunk, b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if not self._transport.is_closing():  # uvloop raises (docs/findings.md: Fan-out)
            self._transport.write(framed[1])

    def close(self) -> None:
        """End the response behind what is on its way."""
        self._closed = True
        if self.tail.failed:
            self._transport.abort()
        elif self.ready and self._transport.is_closing():
            self._limit()
        elif self.ready:
            self._ended = True
            self._transport.write(self._last_chunk)
            self._transport.set_write_buffer_limits(high=0)  # paused, if not all is sent yet
            if self.ready:
                self._give_back()

    def paused(self) -> None:
        """The client is behind."""
        self.ready = False
        self._limit()
        self.tail.lagging.add(self, self._unsent_bytes)

    def resumed(self) -> None:
        """The client has taken what was on its way."""
        self._unlimit()
        self.tail.lagging.remove(self)
        self.ready = True
        if self._ended:
            self._give_back()
        elif self._closed:
            self.close()
        else:
            self.tail.pump()

    def lost(self) -> None:
        """The connection is closed: forget what is on its way."""
        self.ready = False
        self._unlimit()
        self.tail.lagging.remove(self)
        if self._over is not None:
            self._over(False)  # noqa: FBT003
        self.tail.close()

    def cut(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def _give_back(self) -> None:
        self.ready = False
        self._transport.set_write_buffer_limits()
        self._protocol.take_back()
        if self._over is not None:
            self._over(True)  # noqa: FBT003

    def _limit(self) -> None:
        self._unlimit()
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._cut)

    def _unlimit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self) -> None:
        if self._transport.get_write_buffer_size() < self._unsent_bytes:
            self._limit()  # it takes some, slowly
            return
        logger.info("a tail took nothing for %g s and was cut", self._timeout_s)
        self._transport.abort()


class BareSink(WireSink):
    """The same for a client of HTTP/1.0, which knows no chunks: its connection closes behind the end."""

    __slots__ = ()
    _last_chunk: ClassVar = b""

    def write(self, chunk: bytes) -> None:
        """Write a chunk as it is."""
        if not self._transport.is_closing():
            self._transport.write(chunk)


class _Resumed:
    """Awaits the rest of a coroutine whose first step was made by hand and yielded `waits_for`."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        with contextlib.closing(self._coroutine):
            yield self._waits_for
            yield from self._coroutine.__await__()
