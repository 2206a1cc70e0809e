"""A request's connection, as responses see it that write the same bytes to a thousand tails, past ASGI's `send`.

Nothing of the server is imported here, so every room may import this. Where the fast path is off, or another server
runs the app, no request has a wire, and `wire_of` returns None: the response then awaits `send`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from starlette.types import Scope, Send

EXTENSION: Final = "midstream.wire"
"""The key of an HTTP request's wire among the extensions of its scope."""
SOCKET_EXTENSION: Final = "midstream.socket"
"""The key of a WebSocket's `Socket` among the extensions of its scope."""


class Holder(Protocol):
    """The writer of a response's body, which holds the connection until the response is over."""

    def pause(self) -> None:
        """Write no more: the client lags by more than the transport's high-water mark."""
        ...

    def resume(self) -> None:
        """Write again: the client has taken what was on its way."""
        ...

    def over(self, *, whole: bool) -> None:
        """Forget the connection. Called once: the client took all of it (`whole`), or the connection is closed."""
        ...


class Wire(Protocol):
    """The connection of an HTTP/1.1 request."""

    transport: asyncio.Transport

    @property
    def gone(self) -> bool:
        """Whether the connection is closed."""
        ...

    def watch(self, when_gone: Callable[[], None]) -> None:
        """Call `when_gone` if the connection closes before another request comes by it."""
        ...

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what is left to do after the response; uvicorn waits for it before it stops."""
        ...

    def prepare(self, scope: Scope) -> bool:
        """Tell whether `hand_over` is possible; the head that is sent next then announces no chunks to HTTP/1.0."""
        ...

    def write_head(self, scope: Scope, send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        """Write the head of a response without a length, after which `hand_over` is possible; False: `send` has to."""
        ...

    def hand_over(self, scope: Scope, holder: Holder) -> None:
        """Give the connection to a holder. The head is sent; for uvicorn the request is over, and its task ends."""
        ...

    def end(self, last_chunk: bytes) -> None:
        """Write the last chunk, and take the connection back as soon as the client has taken all."""
        ...


class Socket(Protocol):
    """The connection of a WebSocket."""

    def admit(self, has_tails: Callable[[], bool]) -> None:
        """Take messages of any allowed size from now on. While it `has_tails`, a stop of the server leaves it open."""
        ...


def wire_of(scope: Scope) -> Wire | None:
    """Return the request's connection; None where there is none to hand over."""
    wire: Wire | None = (scope.get("extensions") or {}).get(EXTENSION)
    return wire
