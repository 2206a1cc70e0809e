"""A broker and a worker inside the test's own loop: real HTTP and a real server, at no start-up cost.

For faults that need a process to kill there is `tests/system.py`.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import uvicorn
from starlette.types import ASGIApp

from midstream.cli.setup import listen
from midstream.http.app import create_app
from midstream.http.fast_path.server_config import server_config
from midstream.settings import Settings
from midstream_worker.process import Process
from tests import declared


class PromptServer(uvicorn.Server):
    """uvicorn's server, but what it looks at ten times a second it looks at when there is something to see.

    A broker of a test lives for some milliseconds; uvicorn's own pauses made its stop take most of the test's time.
    Programs stop by uvicorn's own code: tests/contract/test_stopping.py and tests/e2e/test_up.py have real processes.
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
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(0.002)
        except TimeoutError:
            logging.getLogger("uvicorn.error").log(
                logging.ERROR, "%d requests are cancelled", len(self.server_state.tasks)
            )
            for task in self.server_state.tasks:
                task.cancel()
        await self.lifespan.shutdown()


@asynccontextmanager
async def broker(settings: Settings, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve on a free port and yield a client of it; `options` are uvicorn's."""
    async with served(settings, create_app(settings), **options) as client:
        yield client


@asynccontextmanager
async def served(settings: Settings, app: ASGIApp, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve an app that the test may have added to."""
    config = server_config(app, settings, log_level="warning", timeout_graceful_shutdown=1, lifespan="on", **options)
    server = PromptServer(config)
    listener = listen("127.0.0.1", 0)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            assert not serving.done(), "the broker did not start"
            await asyncio.sleep(0.005)
        certificate = options.get("ssl_certfile")
        verify = ssl.create_default_context(cafile=certificate) if certificate else True
        url = f"{'https' if certificate else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        hooks: dict[str, list[Any]] = {"response": [declared.check]}
        async with httpx2.AsyncClient(base_url=url, timeout=20, verify=verify, event_hooks=hooks) as client:
            yield client
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
        await asyncio.wait((running, ready), timeout=10, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            raise TimeoutError("the worker is not ready")
        yield process
    finally:
        process.stop()
        await running
