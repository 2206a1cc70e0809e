"""Writes a tail's chunks to the connection itself, where uvicorn lends it (fast_path/wire.py).

No task and no coroutine of a request is left while a tail waits, and a thousand tails that are sent the same chunk
cost a thousand writes and no wake-ups (docs/findings.md: Fan-out).

=======  ==========================================  =====================================================
state    what it means                               what may happen
=======  ==========================================  =====================================================
READY    the transport has room                      write; pause: LAGGING; close: ENDING
LAGGING  the client has not taken what it was sent   resume: READY, and the tail goes on; close: CLOSING
CLOSING  the tail is closed while the client lags    resume: ENDING
ENDING   the last chunk is written                   pause, until the client has taken all
OVER     the connection is closed, or given back
=======  ==========================================  =====================================================

`over` leads from every state to OVER. A tail that has failed is never ended but cut: its response must not look whole.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import ClassVar

from starlette.types import Scope

from midstream import counters
from midstream.http.fast_path.wire import Wire
from midstream.http.tails.gzip_member import GzipMember
from midstream.hub.sender import Sender

logger = logging.getLogger(__name__)


class SinkState(Enum):
    """Where a response's body stands; the table is at the head of this file."""

    READY = auto()
    LAGGING = auto()
    CLOSING = auto()
    ENDING = auto()
    OVER = auto()


class WireSink:
    """Holds a connection and writes chunks to it, until the end of the tail or of the connection.

    What may pile up in the transport is bounded by its high-water mark and one chunk. A client that has taken nothing
    for `timeout_s` is cut. `on_over` is called when the response is over, with whether all of it was sent.

    Attributes:
        ready: It is in the state READY. An attribute of its own, because each delivery to each tail reads it.
    """

    __slots__ = ("_on_over", "_state", "_timeout_s", "_timer", "_transport", "_unsent_bytes", "_wire", "ready", "tail")

    _last_chunk: ClassVar = b"0\r\n\r\n"
    _framed: ClassVar[tuple[bytes, bytes]] = (b"", b"")
    """A chunk, and how it is written. A thousand tails are sent the same one."""

    def __init__(
        self, wire: Wire, scope: Scope, tail: Sender, timeout_s: float, on_over: Callable[[bool], None] | None
    ) -> None:
        self.tail = tail
        self._wire = wire
        self._transport = wire.transport
        self._timeout_s = timeout_s
        self._on_over = on_over
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._state = SinkState.READY
        self.ready = True
        wire.hand_over(scope, self)
        if self._transport.is_closing():  # the client is gone already; `over` follows
            self._enter(SinkState.OVER)

    def write(self, chunk: bytes) -> None:
        """Write a chunk; what is written to a closed connection is dropped."""
        framed = WireSink._framed
        if framed[0] is not chunk:
            framed = WireSink._framed = (chunk, b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if not self._transport.is_closing():  # uvloop raises (docs/findings.md: Fan-out)
            self._transport.write(framed[1])

    def close(self) -> None:
        """End the response after what is on its way."""
        if self.tail.failed:
            self._enter(SinkState.CLOSING)
            self._transport.abort()
        elif self._state is SinkState.LAGGING:
            self._enter(SinkState.CLOSING)
        elif self._state is SinkState.READY:
            self._end()

    def pause(self) -> None:
        """The client lags: wait until it has taken what was sent, and give up when it takes nothing."""
        if self._state is SinkState.READY:
            self._enter(SinkState.LAGGING)
        self._limit()
        self.tail.lagging.add(self, self._unsent_bytes)

    def resume(self) -> None:
        """The client has taken what was on its way."""
        self._unlimit()
        self.tail.lagging.remove(self)
        if self._state is SinkState.LAGGING:
            self._enter(SinkState.READY)
            self.tail.pump()
        elif self._state is SinkState.CLOSING:
            self._end()

    def over(self, *, whole: bool) -> None:
        """Forget the connection: it is closed, or the client took all (`whole`) and uvicorn has it back."""
        self._enter(SinkState.OVER)
        self._unlimit()
        self.tail.lagging.remove(self)
        if self._on_over is not None:
            self._on_over(whole)
        self.tail.close()

    def cut(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def _enter(self, state: SinkState) -> None:
        self._state = state
        self.ready = state is SinkState.READY

    def _end(self) -> None:
        self._enter(SinkState.ENDING)
        if self._transport.is_closing():
            self._limit()  # the rest is on its way; the transport closes when the client has taken it
        else:
            self._wire.end(self._rest())

    def _rest(self) -> bytes:
        """Return what the response ends with."""
        return self._last_chunk

    def _limit(self) -> None:
        self._unlimit()
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._time_out)

    def _unlimit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        if self._transport.get_write_buffer_size() < self._unsent_bytes:
            self._limit()  # it takes some, slowly
            return
        counters.count("limit_exceeded", "tail", "send_timeout")
        logger.info("a tail took nothing for %g s and was cut", self._timeout_s)
        self._transport.abort()


class BareSink(WireSink):
    """The same for a client of HTTP/1.0, which knows no chunks: the close of its connection is the end."""

    __slots__ = ()
    _last_chunk: ClassVar = b""

    def write(self, chunk: bytes) -> None:
        """Write a chunk as it is."""
        if not self._transport.is_closing():
            self._transport.write(chunk)


class GzipSink(WireSink):
    """The same, compressed (PROTOCOL: Read/Compressed)."""

    __slots__ = ("_member",)

    def __init__(
        self,
        wire: Wire,
        scope: Scope,
        tail: Sender,
        timeout_s: float,
        on_over: Callable[[bool], None] | None,
        member: GzipMember,
    ) -> None:
        self._member = member
        super().__init__(wire, scope, tail, timeout_s, on_over)

    def write(self, chunk: bytes) -> None:
        """Write a chunk, compressed."""
        super().write(self._member.add(chunk, self.tail.deflated(chunk)))

    def begin(self) -> None:
        """Write the opening, if no chunk was yet that it leads."""
        if head := self._member.begin():
            super().write(head)

    def _rest(self) -> bytes:
        end = self._member.end()
        return b"%x\r\n%b\r\n" % (len(end), end) + self._last_chunk
