"""Starts programs by forking a process that has imported everything: in milliseconds, not seconds.

Each is a process of its own that runs what `python -m midstream_worker`, `midstream broker` or the providers run;
`tests/fork_loop.py` is the process that forks. It can fork another of itself: so each process of a test run has its
own, and what they all need is imported once.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Self

from tests import leaks
from tests.fork_loop import ROOT, SERVER, Wish

SOURCE_VARIABLE = "TEST_FORK_SOURCE"
"""Names, in a test process's environment, the socket of the server that forks it a server of its own."""


class Forked(asyncio.Protocol):
    """A forked process, with the methods of `asyncio.subprocess.Process` that tests use.

    Attributes:
        pid: Its id.
        returncode: Its exit code, once it has ended; negative is a signal.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.returncode: int | None = None
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[int] = loop.create_future()
        self._lines = b""
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection, to close it when all is known."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Note what the server says of the process."""
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            word, number = line.split()
            if word == b"pid":
                self.pid = int(number)
                self.started.set_result(None)
            else:
                self.returncode = int(number)
                self._ended.set_result(self.returncode)
                assert self._transport
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """Wake who waits for a process whose server is gone: it is gone with it."""
        for future in (self.started, self._ended):
            if not future.done():
                future.cancel()

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int) -> None:
        """Send it a signal.

        Raises:
            ProcessLookupError: It has ended.
        """
        if self.returncode is not None:
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Let it crash."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The forking process, as its parent sees it; it belongs to no event loop.

    Args:
        preload: Environment that forked processes must have from their first instruction on.
    """

    def __init__(self, preload: Mapping[str, str] | None = None) -> None:
        self._ends = ExitStack()
        self.path = str(Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="fork-server-")), "socket"))
        source = os.environ.get(SOURCE_VARIABLE)
        run = running(source, SERVER, self.path) if source and not preload else _fresh(self.path, preload or {})
        self._pid, self._output = self._ends.enter_context(run)
        leaks.LASTING.add(self._pid)

    def ready(self) -> Self:
        """Wait until it has imported everything."""
        if not self._output.readline():
            self._ends.close()
            raise RuntimeError("the fork server did not start")
        self._ends.enter_context(socket.socket(socket.AF_UNIX)).connect(self.path)  # which makes it ours
        return self

    async def fork(self, log: Path, environment: dict[str, str], arguments: list[str], folder: Path) -> Forked:
        """Start a process in `folder`."""
        loop = asyncio.get_running_loop()
        transport, forked = await loop.create_unix_connection(Forked, self.path)
        wish = Wish(log=str(log), errors="", environment=environment, arguments=arguments, folder=str(folder))
        transport.write(json.dumps(wish).encode() + b"\n")
        await forked.started
        return forked

    def run(self, arguments: list[str], timeout_s: float) -> "subprocess.CompletedProcess[str]":
        """Run a process to its end, in this environment and folder.

        Raises:
            TimeoutError: It still runs; the end of the server kills it.
        """
        with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
            log, errors = Path(name, "log"), Path(name, "errors")
            server.settimeout(timeout_s)
            server.connect(self.path)
            _wish(server, log, errors, arguments, Path.cwd())
            with server.makefile() as answers:
                (_, code) = (int(line.split()[1]) for line in answers)
            return subprocess.CompletedProcess(arguments, code, log.read_text(), errors.read_text())

    def close(self) -> None:
        """Kill it and all that it has forked."""
        self._ends.close()
        leaks.LASTING.discard(self._pid)


@contextmanager
def running(path: str, *arguments: str) -> Iterator[tuple[int, IO[str]]]:
    """Let the server at `path` run a process in this environment; yield its id and what it writes.

    The end of the block waits for the end of the process.
    """
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
        log, errors = Path(name, "log"), Path(name, "errors")
        os.mkfifo(log)
        server.connect(path)
        _wish(server, log, errors, [*arguments], ROOT)
        with server.makefile() as answers:
            pid = int(answers.readline().split()[1])
            with log.open() as output:
                yield pid, output
                answers.readline()


@contextmanager
def _fresh(path: str, preload: Mapping[str, str]) -> Iterator[tuple[int, IO[str]]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fork_loop", path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | dict(preload),
    ) as process:
        assert process.stdout
        yield process.pid, process.stdout


def _wish(server: socket.socket, log: Path, errors: Path, arguments: list[str], folder: Path) -> None:
    environment = dict(os.environ)
    wish = Wish(log=str(log), errors=str(errors), environment=environment, arguments=arguments, folder=str(folder))
    server.sendall(json.dumps(wish).encode() + b"\n")


_shared: dict[frozenset[tuple[str, str]], ForkServer] = {}


def shared(preload: Mapping[str, str] | None = None) -> ForkServer:
    """Return the server of this test run with such a preload, started when it is first asked for."""
    key = frozenset((preload or {}).items())
    if key not in _shared:
        _shared[key] = ForkServer(preload).ready()
    return _shared[key]


def close_shared() -> None:
    """End the servers of this test run."""
    while _shared:
        _shared.popitem()[1].close()
