"""uvicorn's HTTP/1.1 protocol, whose connections can be lent to a response.

Theory of operation
===================
uvicorn parses a request, makes a *cycle* of it (its scope, `receive` and `send`), and runs the app in a task. A tail
that waits for an hour needs none of these. It needs the transport, and four events of it. Therefore the response sends
its head by `send` and hands the connection over to a holder (`tails/wire_sink.py`). We mark the cycle as complete, so
that the request's task ends without complaint, and drop the cycle, its scope, its headers and uvicorn's flow control.
The holder writes chunks to the transport. After the last one the connection goes back to uvicorn, in the state in
which uvicorn itself leaves it after a response: the flow control is new, `on_response_complete` was called, and what
the client sent meanwhile is parsed now.

The connection goes back, and is not closed, because Node's `fetch` takes a reset in the middle of a response that
says `Connection: close` for the end of it.

A connection is in one phase, and in each phase an event has one owner:

===============  ======================  ============================  ============================  ======
event            UVICORN                 TAIL                          ENDING                        CLOSED
===============  ======================  ============================  ============================  ======
data_received    uvicorn parses          held, at most HELD_BYTES      held, at most HELD_BYTES
eof_received     uvicorn                 abort: the client has left    abort: the client has left
pause_writing    uvicorn's flow          holder.pause()                holder.pause()
resume_writing   uvicorn's flow          holder.resume()               give back, holder.over(True)
connection_lost  uvicorn, all cycles     holder.over(False)            holder.over(False)
shutdown         uvicorn                 the hub's drain ends it; what it has not sent in time is aborted
a sweep          connections.py          it waits in no queue          it waits in no queue
===============  ======================  ============================  ============================  ======

`MOVES` has every way from one phase to another. A connection that closes after its response (`Connection: close`,
HTTP/1.0, a uvicorn that stops) goes back to uvicorn like any other, and is closed there.

Requests may wait after the one that is answered: uvicorn has parsed them already (`pipeline`), or a part of one (a
head, a body). Then cycle, scope, headers and flow stay, because the parser and those requests need them.

`tested_uvicorn.py` names every attribute of uvicorn's that this room touches.
"""

import asyncio
import functools
import itertools
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Final

from starlette.types import Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from midstream.http.fast_path.heads import BoundedHeads
from midstream.http.fast_path.wire import EXTENSION, Holder

HELD_BYTES: Final = 65_536
"""Bytes that are held of what a client sends while a response is on its way to it."""
CUT_BEFORE_S: Final = 0.5
"""A stopping uvicorn gives up on its connections at a set time. Those that have not taken their end are cut earlier."""


class Phase(Enum):
    """Who has the connection."""

    UVICORN = "uvicorn reads requests and writes responses"
    TAIL = "a holder writes a response's body"
    ENDING = "all of the response is written, and the client has not taken all of it"
    CLOSED = "the connection is closed"

    __hash__ = object.__hash__  # each tail looks into the table three times, and Enum's own is a call of Python


MOVES: Final = {
    Phase.UVICORN: (Phase.TAIL, Phase.CLOSED),
    Phase.TAIL: (Phase.ENDING, Phase.CLOSED),
    Phase.ENDING: (Phase.UVICORN, Phase.CLOSED),
    Phase.CLOSED: (),
}


class WireProtocol(BoundedHeads):
    """uvicorn's protocol, which puts itself as the `Wire` into each request's scope."""

    phase = Phase.UVICORN
    holder: Holder | None = None
    when_gone: Callable[[], None] | None = None
    keep_alive = True
    _held = b""
    _earlier: tuple[RequestResponseCycle, ...] = ()
    """Cycles that were not answered when the next request came. uvicorn tells only the last one of a loss."""

    @property
    def gone(self) -> bool:
        """Whether the connection is closed."""
        return self.phase is Phase.CLOSED

    def watch(self, when_gone: Callable[[], None]) -> None:
        """Call `when_gone` if the connection closes before another request comes by it."""
        if self.gone:
            when_gone()
        else:
            self.when_gone = when_gone

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what is left to do after the response; uvicorn waits for it before it stops."""
        task = asyncio.create_task(work, name="after a response")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def prepare(self, scope: Scope) -> bool:
        """Tell whether `hand_over` is possible; the head that is sent next then announces no chunks to HTTP/1.0."""
        cycle = self._cycle_of(scope)
        if cycle is not None and scope["http_version"] == "1.0":
            cycle.chunked_encoding = False
        return cycle is not None or self.gone

    def write_head(self, scope: Scope, send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        """Write the head of a response without a length as uvicorn does, in a quarter of the time.

        uvicorn looks at each header by itself, because an app may send any. These are our own.

        Return False if `send` has to write it: somebody in between, such as CORS, has a part in it, uvicorn would have
        to wait, or the client knows no chunks.
        """
        cycle = self._cycle_of(scope)
        if cycle is None or send != cycle.send or cycle.disconnected or self.flow.write_paused:
            return False
        if cycle.scope["http_version"] == "1.0":
            return False
        pairs = [*cycle.default_headers, *headers]
        if not cycle.keep_alive:
            pairs.append((b"connection", b"close"))
        if cycle.chunked_encoding is None:
            cycle.chunked_encoding = True
            pairs.append((b"transfer-encoding", b"chunked"))
        head = STATUS_LINE[status] + b"%b: %b\r\n" * len(pairs) % tuple(itertools.chain.from_iterable(pairs))
        if head.count(b"\n") != len(pairs) + 1:
            raise RuntimeError("a header would break the line")
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        self.transport.write(head + b"\r\n")
        return True

    def hand_over(self, scope: Scope, holder: Holder) -> None:
        """Give the connection to a holder, and keep no more for it than it and later requests need."""
        cycle = self._cycle_of(scope)
        if self.gone or cycle is None:
            self.loop.call_soon(functools.partial(holder.over, whole=False))
            return
        self._enter(Phase.TAIL)
        self.holder = holder
        self.all_connections.sent(self)  # from here on the holder watches what is on its way
        self.keep_alive = cycle.keep_alive
        cycle.response_complete = True
        if self.transport.is_closing():
            self.transport.abort()  # else it would wait until a client that is leaving has taken what it was sent
            return
        # uvicorn pauses reading where it is sent a long body or several requests. While it is paused, nobody would
        # notice that the client leaves.
        self.flow.resume_reading()
        if self.flow.write_paused:
            self.flow.resume_writing()
            holder.pause()
        if not self.pipeline and not cycle.more_body and self.scope is cycle.scope:
            self._let_go()

    def end(self, last_chunk: bytes) -> None:
        """Write the last chunk, and take the connection back as soon as the client has taken all."""
        self._enter(Phase.ENDING)
        self.transport.write(last_chunk)
        if self.transport.get_write_buffer_size():
            self.transport.set_write_buffer_limits(high=0)  # pauses, and resumes when the buffer is empty
        else:
            self._give_back()

    def _give_back(self) -> None:
        self._enter(Phase.UVICORN)
        holder, self.holder = self.holder, None
        if self.flow is None:
            self.flow = FlowControl(self.transport)  # type: ignore[unreachable]
        self.transport.set_write_buffer_limits()
        if self.keep_alive:
            self.on_response_complete()
            held, self._held = self._held, b""
            if held:
                self.data_received(held)
        else:
            self.transport.close()
        if holder is not None:
            holder.over(whole=True)

    def _enter(self, phase: Phase) -> None:
        if phase not in MOVES[self.phase]:
            raise RuntimeError(f"a connection in phase {self.phase.name} cannot enter {phase.name}")
        self.phase = phase

    def _cycle_of(self, scope: Scope) -> RequestResponseCycle | None:
        """Find the cycle of a request by what a copy of its scope shares with the original."""
        extensions = scope["extensions"]
        newest = self.cycle
        if newest is not None and newest.scope["extensions"] is extensions:
            return newest
        return next((cycle for cycle in self._earlier if cycle.scope["extensions"] is extensions), None)

    def _let_go(self) -> None:
        """Drop the requests. Their scopes refer to us: else all would wait for the garbage collector."""
        self._earlier = ()
        self.flow = self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def is_answering(self) -> bool:
        """Whether a response is on its way."""
        return self.holder is not None or super().is_answering()

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self.when_gone = None
        before = self.cycle
        super().on_headers_complete()
        if before is not None and before is not self.cycle and not before.response_complete:
            self._earlier = (*(cycle for cycle in self._earlier if not cycle.response_complete), before)
        if self.cycle is not None:  # none is made for a WebSocket
            self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]

    def handle_websocket_upgrade(self) -> None:
        """Give the connection to a protocol for WebSockets, for good, if another one may be opened."""
        if not self.all_connections.admits_socket():
            self._refuse(503, "too_many_strangers", "Too many sockets wait for a key (MIDSTREAM_MAX_STRANGERS).")
            return
        super().handle_websocket_upgrade()
        self._let_go()
        self.parser = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take a request, or hold it until the one before is answered."""
        if self.holder is None:
            super().data_received(data)
            return
        self._held += data
        if len(self._held) > HELD_BYTES:
            self.transport.abort()

    def eof_received(self) -> None:
        """The client is leaving, though it may not have taken what it was sent."""
        if self.holder is None:
            super().eof_received()
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """The client lags."""
        if self.holder is None:
            super().pause_writing()
        else:
            self.holder.pause()

    def resume_writing(self) -> None:
        """The client has taken what was on its way."""
        if self.holder is None:
            super().resume_writing()
        elif self.phase is Phase.ENDING:
            self._give_back()
        else:
            self.holder.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        super().connection_lost(exc)
        self._enter(Phase.CLOSED)
        when_gone, self.when_gone = self.when_gone, None
        if when_gone is not None:
            when_gone()
        for cycle in self._earlier:
            if not cycle.response_complete:
                cycle.disconnected = True
            cycle.message_event.set()
        self._let_go()
        holder, self.holder = self.holder, None
        if holder is not None:
            holder.over(whole=False)

    def shutdown(self) -> None:
        """Uvicorn stops. The hub's drain tells the holder; the connection closes with the response."""
        limit_s = self.config.timeout_graceful_shutdown
        if self.holder is None:
            super().shutdown()
            return
        self.keep_alive = False
        if limit_s is not None:
            self.loop.call_later(max(0, limit_s - CUT_BEFORE_S), self.transport.abort)
