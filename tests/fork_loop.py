"""The forking process itself: `python -m tests.fork_loop PATH` serves on a Unix socket until its owner is gone.

A client connects and sends one line of JSON, a `Wish`; the server answers `pid <pid>` and, when the process has ended,
`exit <code>`, and closes the connection. The first client is the owner: it wishes for nothing, and when it closes its
connection, the server kills all that it has forked, and ends.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

IMPORTS = (
    "midstream_worker.process",
    "midstream_worker.sources.openai_chat",
    "midstream_worker.sources.openai_responses",
    "midstream_worker.sources.anthropic",
    "midstream_worker.__main__",
    "midstream.cli.main",
    "midstream.cli.serve",
    "midstream.cli.server_kind",
    "midstream.http.app",
    "midstream.http.fast_path.wire_protocol",
    "midstream.http.fast_path.ws_protocol",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "midstream.producer.entrance",
    "midstream.testing.provider.server",
    "tests.provider.hostile",
    "httpcore2",  # which a command of the command line imports with its first request
)
ROOT = Path(__file__).parents[1]
SERVER = "fork_server"
PROGRAMS = {
    "worker": "midstream_worker.__main__",
    "midstream": "midstream.cli.main",
    "producing": "tests.faults.producing",
    "stepping": "tests.faults.stepping",
    "till": "tests.faults.till",
    "provider": "tests.provider.__main__",
    "hostile": "tests.provider.hostile",
    SERVER: "tests.fork_loop",
}
"""What can be started by its `main`: a worker, the command line, the fault rig's producers, and what tests stand on."""

OWNER_S = 60.0
"""How long a server waits for its owner, which may be gone before it has imported everything."""


class Wish(TypedDict):
    """What to start: `python -m` a name of `PROGRAMS`, with further arguments; output goes to `log` and `errors`."""

    log: str
    errors: str
    environment: dict[str, str]
    arguments: list[str]
    folder: str


class _Server:
    """Forks what is wished for."""

    def __init__(self, path: str) -> None:
        self._children: dict[int, socket.socket] = {}
        self._servers: set[int] = set()  # which end with owners of their own, and kill their children
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(128)
        wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # that it came is all that is wanted: it wakes the selector
        self._wakes = wakes
        os.write(1, b"ready\n")
        self._listener.settimeout(OWNER_S)
        self._owner, _ = self._listener.accept()
        self._listener.settimeout(None)
        for source in (self._owner, wakes, self._listener):
            self._selector.register(source, selectors.EVENT_READ)

    def serve(self) -> None:
        """Fork the processes that are wished for, until the owner is gone."""
        while True:
            ready = {key.fileobj for key, _ in self._selector.select()}
            if self._owner in ready:
                break
            if self._wakes in ready:
                os.read(self._wakes, 4_096)
            if self._listener in ready:
                client, _ = self._listener.accept()
                self._fork(client)
            self._reap()
        for pid in self._children.keys() - self._servers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _fork(self, client: socket.socket) -> None:
        wish: Wish = json.loads(client.makefile().readline())
        pid = os.fork()
        if not pid:
            # Only what a fresh process would have stays open.
            mine: list[Any] = [client, self._owner, self._listener, self._selector, *self._children.values()]
            for inherited in mine:
                inherited.close()
            _become(wish)
        self._children[pid] = client
        if wish["arguments"][0] == SERVER:
            self._servers.add(pid)
        client.sendall(b"pid %d\n" % pid)

    def _reap(self) -> None:
        for pid in tuple(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                client = self._children.pop(pid)
                self._servers.discard(pid)
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


def _warm_up() -> None:
    """Fill the caches that each broker fills at its start: of the files that it serves, and of their types."""
    for name in [name for name in os.environ if name.startswith("MIDSTREAM_")]:
        del os.environ[name]  # the developer's; what is forked gets an environment of its own
    app, settings = importlib.import_module("midstream.http.app"), importlib.import_module("midstream.settings")
    app.create_app(settings.Settings())


def main() -> None:
    """Import everything, and serve."""
    sys.path.insert(0, str(ROOT))
    gc.disable()
    for name in IMPORTS:
        importlib.import_module(name)
    _warm_up()
    gc.collect()
    gc.freeze()  # else each process that is forked would walk, and so copy, all that was imported
    gc.enable()
    _Server(sys.argv[1]).serve()


if __name__ == "__main__":
    main()
