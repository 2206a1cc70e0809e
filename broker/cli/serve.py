"""`midstream broker`: one uvicorn server in this process."""

import asyncio
import contextlib
import math
import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

from broker.cli.setup import listen
from broker.http.app import create_app
from broker.http.wire import WireProtocol
from broker.ops.house import House
from broker.settings import Settings

STOP_MARGIN_S: Final = 2
"""What requests get to end behind their tails, before uvicorn cancels them."""


class DrainingServer(uvicorn.Server):
    """Parts from its tails within `broker_drain_ms` of being told to stop; uvicorn alone waits for their streams' ends.

    A tail that is parted from has no `end`: its client comes back, to whoever listens here then.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._app = app
        self._drain_s = settings.broker_drain_ms / 1_000
        config = uvicorn.Config(
            app,
            access_log=False,
            http=WireProtocol,
            log_level=settings.log_level,
            timeout_graceful_shutdown=math.ceil(self._drain_s) + STOP_MARGIN_S,
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, part from the tails, wait for requests, close the app."""
        draining = asyncio.create_task(self._drain())
        try:
            await super().shutdown(sockets)
        finally:
            draining.cancel()
            await asyncio.wait((draining,))

    async def _drain(self) -> None:
        house: House = self._app.state.house
        await house.hub.drain(self._drain_s, house.settings.retry_ms)


def serve(settings: Settings, descriptor: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT, on the inherited listening socket if one is given.

    Raises:
        SetupError: The port is taken.
    """
    # Bound here and not by uvicorn: a taken port is told clearly, and several processes could share the socket.
    listener = listen(settings.host, settings.port) if descriptor is None else socket.socket(fileno=descriptor)
    with contextlib.closing(listener):
        DrainingServer(create_app(settings), settings).run(sockets=[listener])
