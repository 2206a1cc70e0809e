"""A way past ASGI's `send`: the connection itself, offered to responses that write the same bytes to a thousand tails.

uvicorn's protocol is subclassed at the callbacks that it and asyncio define. Servers without it serve the
same responses by plain `send` (see sinks.py); both ways are tested.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger(__name__)

EXTENSION: Final = "midstream.wire"


class Wire:
    """One HTTP/1.1 connection while it answers one request.

    Attributes:
        paused: The client is behind by more than the transport's high-water mark: write no more.
        on_resume: Called when it has caught up.
    """

    __slots__ = ("_transport", "on_resume", "paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.paused = False
        self.on_resume: Callable[[], None] | None = None

    def write_chunk(self, chunk: bytes) -> None:
        """Write one chunk of a chunked body; what is written to a closed connection is dropped."""
        if self._transport.is_closing():
            return  # uvloop raises (FINDINGS 9)
        self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    def abort(self) -> None:
        """Close the connection without waiting for a client that takes nothing."""
        self._transport.abort()


class WireProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, which puts the connection into each request's scope."""

    wire: Wire | None = None

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.wire = Wire(self.transport)
        self.scope["extensions"] = {EXTENSION: self.wire}  # type: ignore[dict-item]

    def pause_writing(self) -> None:
        """The client is behind."""
        super().pause_writing()
        if self.wire is not None:
            self.wire.paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self.wire is not None:
            self.wire.paused = False
            if self.wire.on_resume is not None:
                self.wire.on_resume()


def wire_of(scope: Scope) -> Wire | None:
    """Return the request's connection if the server offers it."""
    wire: Wire | None = (scope.get("extensions") or {}).get(EXTENSION)
    return wire
