"""uvicorn's WebSockets, whose messages are small until the client has shown a key (PROTOCOL: Ws/Key)."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from midstream.http.fast_path.wire import SOCKET_EXTENSION


class WsProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which holds no large message of a client that has shown no key."""

    auth_bytes = 4_096

    @classmethod
    def bounded(cls, auth_bytes: int) -> type["WsProtocol"]:
        """Return the protocol with that limit."""
        return type(cls.__name__, (cls,), {"auth_bytes": auth_bytes})

    def __init__(self, *arguments: Any, **further: Any) -> None:
        super().__init__(*arguments, **further)
        self.conn.max_message_size = self.auth_bytes

    def handle_connect(self, event: Request) -> None:
        """Begin a conversation."""
        super().handle_connect(event)
        if self.response.status_code == 101:  # noqa: PLR2004
            self.scope["extensions"][SOCKET_EXTENSION] = self  # type: ignore[assignment]

    def admit(self) -> None:
        """Take messages of any allowed size from now on."""
        self.conn.max_message_size = self.config.ws_max_size
