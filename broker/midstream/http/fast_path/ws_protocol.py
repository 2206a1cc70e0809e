"""uvicorn's WebSockets, whose messages are small until the client has shown a key (PROTOCOL: Ws/Key)."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from midstream.http.fast_path.connections import Connections, Queue
from midstream.http.fast_path.wire import SOCKET_EXTENSION


class WsProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which holds no large message of a client that has shown no key."""

    auth_bytes = 4_096
    all_connections: Connections
    waits_in: Queue | None = None
    has_tails: Callable[[], bool] | None = None

    @classmethod
    def bounded(cls, auth_bytes: int, all_connections: Connections) -> type["WsProtocol"]:
        """Return the protocol with that limit, as one of these connections."""
        return type(cls.__name__, (cls,), {"auth_bytes": auth_bytes, "all_connections": all_connections})

    def __init__(self, *arguments: Any, **further: Any) -> None:
        super().__init__(*arguments, **further)
        self.conn.max_message_size = self.auth_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection over from HTTP, which counted it."""
        super().connection_made(transport)
        self.all_connections.wait(self, self.all_connections.sockets)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self.all_connections.closed(self)
        super().connection_lost(exc)

    def time_out(self) -> None:
        """No sweep times a socket: the wait for its key is timed by `/v1/ws` itself."""

    def handle_connect(self, event: Request) -> None:
        """Begin a conversation."""
        super().handle_connect(event)
        if self.response.status_code == 101:  # noqa: PLR2004
            self.scope["extensions"][SOCKET_EXTENSION] = self  # type: ignore[assignment]

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """The conversation is over. Its scope refers to us: else all would wait for the garbage collector."""
        super().on_task_complete(task)
        self.scope.clear()  # type: ignore[attr-defined]
        self.has_tails = None

    def shutdown(self) -> None:
        """Uvicorn stops. A socket with tails is closed when the hub parts from one of them: not all in one moment."""
        if self.has_tails is None or not self.has_tails():
            super().shutdown()

    def admit(self, has_tails: Callable[[], bool]) -> None:
        """Take messages of any allowed size from now on, of a client that is let in."""
        self.has_tails = has_tails
        self.all_connections.proceed(self)
        self.conn.max_message_size = self.config.ws_max_size
