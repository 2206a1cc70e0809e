"""What uvicorn's protocol begins a connection with, found out once and set anew for every further one.

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
COMMON: Final = (
    *("config", "app", "loop", "logger", "access_logger", "access_log", "ws_protocol_class", "root_path"),
    *("asgi_version", "limit_concurrency", "app_state", "timeout_keep_alive_task", "timeout_keep_alive"),
    *("server_state", "connections", "tasks", "transport", "flow", "server", "client", "scheme", "scope", "headers"),
    *("expect_100_continue", "cycle"),
)
"""All else, in the order in which `QuickStart` sets it."""


class QuickStart(HttpToolsProtocol):
    """uvicorn's protocol, which sets what two connections that began plainly have in common.

    Where these two have other attributes, or differ in more than `OWN`, as may be in another release of uvicorn, every
    connection begins plainly. A copy of the attributes as a dictionary would be quicker, and takes 2 KiB for each
    connection: Python then shares no table of their names.
    """

    _common: ClassVar[tuple[Any, ...] | None] = None
    _compared: ClassVar[tuple[ServerState, dict[str, Any]] | None] = None
    """The server whose connections were compared."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any | None = None
    ) -> None:
        compared = self._compared
        if compared is None or compared[0] is not server_state or compared[1] is not app_state:
            self._compare(config, server_state, app_state, _loop)
        common = self._common
        if common is None:
            super().__init__(config, server_state, app_state, _loop)
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.pipeline = deque()
        (
            self.config,
            self.app,
            self.loop,
            self.logger,
            self.access_logger,
            self.access_log,
            self.ws_protocol_class,
            self.root_path,
            self.asgi_version,
            self.limit_concurrency,
            self.app_state,
            self.timeout_keep_alive_task,
            self.timeout_keep_alive,
            self.server_state,
            self.connections,
            self.tasks,
            self.transport,
            self.flow,
            self.server,
            self.client,
            self.scheme,
            self.scope,
            self.headers,
            self.expect_100_continue,
            self.cycle,
        ) = common

    @classmethod
    def _compare(cls, config: Config, server_state: ServerState, app_state: dict[str, Any], loop: Any | None) -> None:
        """Find out what the connections of this server have in common when they begin."""
        first, second = (vars(HttpToolsProtocol(config, server_state, app_state, loop)) for _ in range(2))
        own = {name for name, value in first.items() if value is not second.get(name)}
        fits = first.keys() == OWN | set(COMMON) and own == OWN
        cls._common = tuple(first[name] for name in COMMON) if fits else None
        cls._compared = (server_state, app_state)
