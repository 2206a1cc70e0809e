"""`midstream broker`: one uvicorn server in this process."""

import asyncio
import contextlib
import gc
import math
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import uvicorn

from midstream.app_registry import with_app_modules
from midstream.cli.server_kind import wait_for_log
from midstream.cli.setup import SetupError, listen
from midstream.cli.supervisor import Command, Supervisor, supervise
from midstream.cli.watchdog import watched
from midstream.http.app import BrokerApp, create_app
from midstream.http.fast_path.open_files import raise_limit
from midstream.http.fast_path.server_config import server_config
from midstream.journal.journal import configure, write_counts
from midstream.lifecycle.shared_turns import until_turn_s
from midstream.metrics.metrics_settings import MetricsPortError
from midstream.settings import Settings

if TYPE_CHECKING:
    from midstream.metrics.listener import MetricsListener

GC_ALLOCATIONS: Final = 50_000
"""Containers that are allocated and not freed between two collections of the youngest generation."""
TICK_S: Final = 1.0
"""How often a server looks around that nobody stops."""
STOPPING_TICK_S: Final = 0.1
STOP_MARGIN_S: Final = 2
"""Seconds that requests get to end after their tails, before uvicorn cancels them."""


class DrainingServer(uvicorn.Server):
    """Parts from its tails when it is told to stop; uvicorn alone waits for their streams' ends.

    For `broker_unready_ms` it serves on, while `/readyz` turns proxies away. Then it takes no connection any more, and
    parts from its tails within `broker_drain_ms`. A tail that is parted from has no `end`: its client comes back, to a
    process that listens then.
    """

    def __init__(self, app: BrokerApp, settings: Settings, metrics: socket.socket | None = None) -> None:
        self._app = app
        self._metrics_socket = metrics
        self._metrics: MetricsListener | None = None
        self._unready_s = settings.broker_unready_ms / 1_000
        self._unready_until_s: float | None = None
        self._drain_s = settings.broker_drain_ms / 1_000
        self._stall_s = settings.loop_stall_ms / 1_000
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signalled = asyncio.Event()
        super().__init__(
            server_config(
                app,
                settings,
                log_config=None,  # its lines are written as ours are
                log_level=settings.foreign_log_level,  # at `debug` it writes every message of a WebSocket
                timeout_graceful_shutdown=math.ceil(self._drain_s) + STOP_MARGIN_S,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop; a process whose loop stands still meanwhile is ended."""
        with watched(self._stall_s):
            await super().serve(sockets)

    async def main_loop(self) -> None:
        """Do as uvicorn, which looks ten times a second if it has to stop: once a second, and as soon as it has to."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # 0: it makes the `Date` of answers anew
            rest_s = STOPPING_TICK_S if self.should_exit else until_turn_s(TICK_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._signalled.wait()
            self._signalled.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Do as uvicorn, and wake the main loop."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._signalled.set)

    async def on_tick(self, counter: int) -> bool:
        """Do as uvicorn, and return whether the time is over for which a stop is put off (PROTOCOL: Drain/Ready).

        A second SIGINT ends that time.
        """
        if not await super().on_tick(counter):
            return False
        now_s = time.monotonic()
        if self._unready_until_s is None:
            self._app.services.leave()
            self._unready_until_s = now_s + self._unready_s
        return self.force_exit or now_s >= self._unready_until_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the app and listen; what is in memory by then stays, so no collection need walk it again.

        Nor need the objects that tails are made of be walked every 700 allocations: measured, the collector took an
        eighth of a busy front.
        """
        await super().startup(sockets)
        if self._metrics_socket is not None and not self.should_exit:
            await self._start_metrics(self._metrics_socket)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, part from the tails, wait for requests, close the app."""
        draining = asyncio.create_task(self._drain())
        try:
            await super().shutdown(sockets)
        finally:
            draining.cancel()
            await asyncio.wait((draining,))
            if self._metrics is not None:
                await self._metrics.stop()
            write_counts()

    async def _start_metrics(self, listener: socket.socket) -> None:
        from midstream.metrics.listener import MetricsListener  # noqa: PLC0415 - the library takes its time

        self._metrics = MetricsListener("broker", self._app.services.readings, self._app.services.settings.own_hosts)
        await self._metrics.start(listener)

    async def _drain(self) -> None:
        await self._app.services.drain(self._drain_s)


def serve_many(settings: Settings, processes: int) -> int:
    """Serve by several processes on one port until a signal; return the exit status.

    The kernel hands each new connection to one of them; they share nothing but Redis.

    Raises:
        SetupError: The port is taken.
    """
    with contextlib.closing(listen(settings.host, settings.port)) as listener:
        descriptor = listener.fileno()
        commands = [
            Command(
                f"broker {number}",
                (sys.executable, "-P", "-m", "midstream.cli", "broker", "--fd", str(descriptor)),
                stop_timeout_s=settings.broker_stop_s + settings.traces_exit_s + STOP_MARGIN_S + 1,
                environment={
                    "MIDSTREAM_HOST": settings.host,
                    "MIDSTREAM_PORT": str(settings.port),
                    "MIDSTREAM_LOG_FORMAT": "json" if settings.logs_json else "text",  # a pipe would be JSON
                    **settings.metrics_of(number - 1),
                },
                descriptors=(descriptor,),
            )
            for number in range(1, processes + 1)
        ]
        supervisor = Supervisor("broker")
        return asyncio.run(supervise(supervisor, lambda: supervisor.start(*commands)))


def serve(settings: Settings, descriptor: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT, on the inherited listening socket if one is given.

    Raises:
        SetupError: The port is taken, or that of the metrics.
    """
    # Bound here and not by uvicorn: a taken port is told clearly, and several processes could share the socket.
    configure(settings)
    wait_for_log(settings)
    if settings.app_modules:
        sys.path.append(str(Path.cwd()))  # as a worker does
        settings = with_app_modules(settings)
    raise_limit()
    listener = listen(settings.host, settings.port) if descriptor is None else socket.socket(fileno=descriptor)
    with contextlib.closing(listener):
        DrainingServer(create_app(settings), settings, _metrics_listener(settings)).run(sockets=[listener])


def _metrics_listener(settings: Settings) -> socket.socket | None:
    try:
        return settings.metrics_listener()
    except MetricsPortError as error:
        raise SetupError(str(error)) from None
