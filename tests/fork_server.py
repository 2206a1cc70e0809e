"""Starts workers and brokers by forking a process that has imported everything: in milliseconds, not seconds.

Each is a process of its own that runs what `python -m midstream_worker` and `midstream broker` run. A client
connects to the server's Unix socket and sends one line of JSON, a `Wish`; the server answers `pid <pid>` and, when the
process has ended, `exit <code>`, and closes the connection. The end of the server's stdin kills all that it forked.
"""

import asyncio
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from tests import leaks

IMPORTS = (
    "midstream_worker.process",
    "midstream_worker.sources.openai_chat",
    "midstream_worker.sources.openai_responses",
    "midstream_worker.sources.anthropic",
    "midstream_worker.__main__",
    "midstream.cli.main",
    "midstream.cli.serve",
    "midstream.producer.entrance",
    "httpcore2",  # which a command of the command line imports with its first request
)
ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "worker": "midstream_worker.__main__",
    "midstream": "midstream.cli.main",
    "producing": "tests.faults.producing",
    "stepping": "tests.faults.stepping",
    "till": "tests.faults.till",
}
"""What can be started by its `main`: a worker by itself, the command line, and a producer of the fault rig."""


class Wish(TypedDict):
    """What to start: `python -m` a name of `PROGRAMS`, with further arguments; output goes to `log` and `errors`."""

    log: str
    errors: str
    environment: dict[str, str]
    arguments: list[str]
    folder: str


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
        self._folder = tempfile.TemporaryDirectory(prefix="fork-server-")
        self._path = str(Path(self._folder.name) / "socket")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", self._path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | dict(preload or {}),
        )
        leaks.LASTING.add(self._process.pid)
        assert self._process.stdout
        if not self._process.stdout.readline():  # it says so when all is imported
            self.close()
            raise RuntimeError("the fork server did not start")

    async def fork(self, log: Path, environment: dict[str, str], arguments: list[str], folder: Path) -> Forked:
        """Start a process in `folder`."""
        loop = asyncio.get_running_loop()
        transport, forked = await loop.create_unix_connection(Forked, self._path)
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
            wish = Wish(
                log=str(log),
                errors=str(errors),
                environment=dict(os.environ),
                arguments=arguments,
                folder=str(Path.cwd()),
            )
            server.settimeout(timeout_s)
            server.connect(self._path)
            server.sendall(json.dumps(wish).encode() + b"\n")
            with server.makefile() as answers:
                (_, code) = (int(line.split()[1]) for line in answers)
            return subprocess.CompletedProcess(arguments, code, log.read_text(), errors.read_text())

    def close(self) -> None:
        """Kill it and all that it has forked."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        leaks.LASTING.discard(self._process.pid)
        self._folder.cleanup()


_shared: dict[frozenset[tuple[str, str]], ForkServer] = {}


def shared(preload: Mapping[str, str] | None = None) -> ForkServer:
    """Return the server of this test run with such a preload, started when it is first asked for."""
    key = frozenset((preload or {}).items())
    if key not in _shared:
        _shared[key] = ForkServer(preload)
    return _shared[key]


def close_shared() -> None:
    """End the servers of this test run."""
    while _shared:
        _shared.popitem()[1].close()


class _Server:
    """The loop of the forking process."""

    def __init__(self, path: str) -> None:
        self._children: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(128)
        wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # that it came is all that is wanted: it wakes the selector
        self._wakes = wakes
        for source in (0, wakes, self._listener):
            self._selector.register(source, selectors.EVENT_READ)

    def serve(self) -> None:
        """Fork the processes that are wished for, until the parent is gone."""
        os.write(1, b"ready\n")
        while True:
            ready = {key.fileobj for key, _ in self._selector.select()}
            if 0 in ready and not os.read(0, 4_096):
                break
            if self._wakes in ready:
                os.read(self._wakes, 4_096)
            if self._listener in ready:
                client, _ = self._listener.accept()
                self._fork(client)
            self._reap()
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _fork(self, client: socket.socket) -> None:
        wish: Wish = json.loads(client.makefile().readline())
        pid = os.fork()
        if not pid:
            # Only what a fresh process would have stays open.
            mine: list[Any] = [client, self._listener, self._selector, *self._children.values()]
            for inherited in mine:
                inherited.close()
            _become(wish)
        self._children[pid] = client
        client.sendall(b"pid %d\n" % pid)

    def _reap(self) -> None:
        for pid in tuple(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                client = self._children.pop(pid)
                with suppress(OSError):  # who asked for it may be gone
                    client.sendall(b"exit %d\n" % os.waitstatus_to_exitcode(status))
                client.close()


def _become(wish: Wish) -> None:
    """Run a worker or a broker in this, the forked, process; never returns."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    errors = os.open(wish["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if wish["errors"] else log
    nothing = os.open(os.devnull, os.O_RDONLY)
    for new, old in ((nothing, 0), (log, 1), (errors, 2)):
        os.dup2(new, old)
    os.environ.clear()
    os.environ.update(wish["environment"])
    os.chdir(wish["folder"])
    program, *arguments = wish["arguments"]
    sys.argv = [program, *arguments]
    code: Any = 1
    try:
        code = importlib.import_module(PROGRAMS[program]).main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


def _main() -> None:
    sys.path.insert(0, str(ROOT))
    gc.disable()
    for name in IMPORTS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else each process that is forked would walk, and so copy, all that was imported
    gc.enable()
    _Server(sys.argv[1]).serve()


if __name__ == "__main__":
    _main()
