"""A way past ASGI's `send`: the connection itself, offered to responses that write the same bytes to a thousand tails.

uvicorn's protocol is subclassed at the callbacks that it and asyncio define. Servers without it serve the
same responses by plain `send` (see sinks.py); both ways are tested.

The connection is given back behind the response, not closed with it: of a response that says `Connection: close`,
Node's fetch takes a reset in the middle for its end.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final, Protocol

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from midstream.http.fast_path.heads import BoundedHeads
from midstream.http.fast_path.open_files import OpenFiles

EXTENSION: Final = "midstream.wire"
HELD_BYTES: Final = 65_536
"""What is held of requests that a client sends before the one under way is answered."""
CUT_BEFORE_S: Final = 0.5
"""How long before a stopping server gives up on its connections those are cut that have not taken their last words."""


class Keeper(Protocol):
    """Who has taken a connection over, and hears of it."""

    def paused(self) -> None:
        """The client is behind by more than the transport's high-water mark: write no more."""
        ...

    def resumed(self) -> None:
        """The client has caught up."""
        ...

    def lost(self) -> None:
        """The connection is closed. Called once."""
        ...


class Wire:
    """The connection of an HTTP/1.1 request, free to be taken over once the head of its response was sent."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: "WireProtocol") -> None:
        self._protocol = protocol

    @property
    def free(self) -> bool:
        """Whether it can be taken over: a request behind this one, or its beginning, would need what is let go then."""
        protocol = self._protocol
        return protocol.gone or (not protocol.pipeline and protocol.scope is protocol.cycle.scope)

    @property
    def gone(self) -> bool:
        """Whether the connection is closed."""
        return self._protocol.gone

    def watch(self, when_gone: Callable[[], None]) -> None:
        """Have it told if the connection closes before another request comes by it."""
        if self._protocol.gone:
            when_gone()
        else:
            self._protocol.when_gone = when_gone

    @property
    def bare(self) -> bool:
        """Whether the client knows no chunks (HTTP/1.0): the end of the connection is the end of the body."""
        return self._protocol.scope is not None and self._protocol.scope["http_version"] == "1.0"

    def begin(self) -> None:
        """Have the head that is sent next announce no chunks to a client that knows none."""
        if self.bare:
            self._protocol.cycle.chunked_encoding = False

    def keep(self, keeper: Keeper) -> "WireProtocol":
        """Take the connection over: its keeper writes the response's body, and gives it back behind the end.

        The request is over for the server: its task ends, and what it kept for it is let go.
        """
        self._protocol.give_to(keeper)
        return self._protocol

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what is left to do behind the response; the server waits for it before it stops."""
        tasks = self._protocol.tasks
        task = asyncio.create_task(work, name="behind a response")
        tasks.add(task)
        task.add_done_callback(tasks.discard)


class WireProtocol(BoundedHeads):
    """uvicorn's HTTP/1.1 protocol, which puts the connection into each request's scope."""

    open_files: ClassVar = OpenFiles()
    keeper: Keeper | None = None
    when_gone: Callable[[], None] | None = None
    gone = False
    keep_alive = True
    _held = b""
    earlier: tuple[RequestResponseCycle, ...] = ()
    """Requests that were not answered when the next one came, as `cycle`: uvicorn tells only that one of a loss."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(transport)
        self.open_files.opened(transport.get_extra_info("socket").fileno())

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self.when_gone = None
        before = self.cycle
        super().on_headers_complete()
        if before is not None and before is not self.cycle and not before.response_complete:
            self.earlier = (*(cycle for cycle in self.earlier if not cycle.response_complete), before)
        if self.cycle is not None:  # none is made for a WebSocket
            self.scope["extensions"] = {EXTENSION: Wire(self)}  # type: ignore[dict-item]

    def give_to(self, keeper: Keeper) -> None:
        """Have no more of this connection but its events, and keep no more for it than they need."""
        if self.gone:
            self.loop.call_soon(keeper.lost)
            return
        self.keeper = keeper
        self.keep_alive = self.cycle.keep_alive
        self.cycle.response_complete = True
        if self.transport.is_closing():
            self.transport.abort()  # else it would wait until a client that is leaving has taken what it was sent
        else:
            # The server pauses where it is sent a long body. Nobody else knows that it did, once its flow is let go:
            # neither the next request would be read, nor that the client leaves.
            self.flow.resume_reading()
        self._let_go()

    def take_back(self) -> None:
        """The response has been sent: go on with the next request, as behind any other."""
        self.keeper = None
        if not self.keep_alive:
            self.transport.close()
            return
        self.flow = FlowControl(self.transport)
        self.on_response_complete()
        held, self._held = self._held, b""
        if held:
            self.data_received(held)

    def _let_go(self) -> None:
        """Its requests' scopes hold us: all would wait for the collector."""
        self.earlier = ()
        self.flow = self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take a request, or hold it until the one before is answered."""
        if self.keeper is None:
            super().data_received(data)
            return
        self._held += data
        if len(self._held) > HELD_BYTES:
            self.transport.abort()

    def eof_received(self) -> None:
        """The client is leaving, though it may not have taken what it was sent."""
        if self.keeper is not None:
            self.transport.abort()
        else:
            super().eof_received()

    def pause_writing(self) -> None:
        """The client is behind."""
        if self.keeper is None:
            super().pause_writing()
        else:
            self.keeper.paused()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self.keeper is None:
            super().resume_writing()
        else:
            self.keeper.resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        super().connection_lost(exc)
        self.gone = True
        when_gone, self.when_gone = self.when_gone, None
        if when_gone is not None:
            when_gone()
        for cycle in self.earlier:
            if not cycle.response_complete:
                cycle.disconnected = True
            cycle.message_event.set()
        self._let_go()
        keeper, self.keeper = self.keeper, None
        if keeper is not None:
            keeper.lost()

    def shutdown(self) -> None:
        """The server stops: end with the response. Who has taken the connection over is told by the hub's drain."""
        limit_s = self.config.timeout_graceful_shutdown
        if self.keeper is None:
            super().shutdown()
            return
        self.keep_alive = False
        if limit_s is not None:
            self.loop.call_later(max(0, limit_s - CUT_BEFORE_S), self.transport.abort)


def wire_of(scope: Scope) -> Wire | None:
    """Return the request's connection if the server offers it, and no other request waits behind this one."""
    wire: Wire | None = (scope.get("extensions") or {}).get(EXTENSION)
    return wire if wire and wire.free else None
