"""A broker and a worker inside an event loop of a test: real HTTP and a real server, at no start-up cost."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from midstream.http.fast_path.server_config import server_config
from midstream.http.listener import bound_unsent
from midstream.settings import Settings
from midstream_worker.process import Process

READY_S: Final = 10.0


class PromptServer(uvicorn.Server):
    """uvicorn's server, but what it looks at ten times a second it looks at when there is something to see.

    A broker of a test lives for some milliseconds; uvicorn's own pauses made its stop take most of the test's time.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Do as on a signal."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Wait until the server is to stop."""
        await self.on_tick(0)  # makes the headers that every answer has
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wait for the connections' ends as long as uvicorn is told to, close the app."""
        for closing in (*self.servers, *(sockets or ())):
            closing.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn sets none
                    await asyncio.sleep(0.002)
        except TimeoutError:
            logging.getLogger("uvicorn.error").log(
                logging.ERROR, "%d requests are cancelled", len(self.server_state.tasks)
            )
            for task in self.server_state.tasks:
                task.cancel()
        await self.lifespan.shutdown()


@asynccontextmanager
async def serving(settings: Settings, app: ASGIApp, **options: Any) -> AsyncIterator[str]:
    """Serve a broker's app on a free port, and yield its address; `options` are uvicorn's."""
    config = server_config(app, settings, log_level="warning", timeout_graceful_shutdown=1, lifespan="on", **options)
    async with listening(config) as url:
        yield url


@asynccontextmanager
async def listening(config: uvicorn.Config) -> AsyncIterator[str]:
    """Serve on a free port of loopback, and yield the address.

    Raises:
        RuntimeError: The app did not start.
    """
    server = PromptServer(config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    bound_unsent(listener)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            if serving.done():
                raise RuntimeError("the server did not start")
            await asyncio.sleep(0.005)
        yield f"{'https' if config.is_ssl else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.stop()
        await serving
        listener.close()


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[Process]:
    """Run a worker, and drain it on leaving."""
    process = Process(settings, handle_signals=False)
    running = asyncio.create_task(process.run())
    ready = asyncio.create_task(process.ready.wait())
    try:
        await asyncio.wait((running, ready), timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            raise TimeoutError("the worker is not ready")
        yield process
    finally:
        process.stop()
        await running
