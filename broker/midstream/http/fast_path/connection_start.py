"""What uvicorn's protocol begins a connection with, found out once for all connections of a server.

uvicorn asks the logging module for two loggers, under its lock, and its configuration for a dozen values, for each
connection again. When all clients come back at once that is a fifteenth of what each of them costs.
"""

from collections import deque
from typing import Any, ClassVar, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

OWN: Final = frozenset({"parser", "pipeline"})
"""What each connection has for itself when it begins. All else is the same object for all connections of a server."""
COMMON: Final = frozenset(
    (
        *("config", "app", "loop", "logger", "access_logger", "access_log", "ws_protocol_class", "root_path"),
        *("asgi_version", "limit_concurrency", "app_state", "timeout_keep_alive_task", "timeout_keep_alive"),
        *("server_state", "connections", "tasks", "transport", "flow", "server", "client", "scheme", "scope"),
        *("headers", "expect_100_continue", "cycle"),
    )
)
"""All else."""


class QuickStart(HttpToolsProtocol):
    """uvicorn's protocol, whose class holds what two connections that began plainly have in common.

    A connection has an attribute of its own as soon as it sets one. Where the two have other attributes, or differ in
    more than `OWN`, as may be in another release of uvicorn, every connection begins plainly. So does every connection
    of a second server of the same class.
    """

    _server: ClassVar[tuple[ServerState, dict[str, Any]] | None] = None
    """The server whose connections were compared."""
    _fits: ClassVar[bool] = False

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any | None = None
    ) -> None:
        if self._server is None:
            self._compare(config, server_state, app_state, _loop)
        server = self._server
        if not self._fits or server is None or server[0] is not server_state or server[1] is not app_state:
            super().__init__(config, server_state, app_state, _loop)
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.pipeline = deque()

    @classmethod
    def _compare(cls, config: Config, server_state: ServerState, app_state: dict[str, Any], loop: Any | None) -> None:
        """Find out what the connections of this server have in common when they begin."""
        cls._server = (server_state, app_state)
        first, second = (vars(HttpToolsProtocol(config, server_state, app_state, loop)) for _ in range(2))
        own = {name for name, value in first.items() if value is not second.get(name)}
        cls._fits = first.keys() == OWN | COMMON and own == OWN
        if cls._fits:
            for name in COMMON:  # static, because an app that is a function must not become a method
                setattr(cls, name, staticmethod(first[name]) if callable(first[name]) else first[name])
