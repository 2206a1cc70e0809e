"""Imports all tests once, and forks the test processes of a run from the process that has imported them.

`scripts/test` loads this plugin. Without it, each test process imports all tests and what they need for 5 s, and in a
fresh checkout rewrites their assertions for 5 s more. The plugin starts two processes before pytest imports its own
conftest: one that imports the tests, and one that imports what the programs of tests need, from which each test
process gets its fork server. xdist starts a test process by a command; here that command only hands its standard
streams to the process that has imported the tests, and waits for the end of the one that it forks.
"""

import gc
import importlib
import os
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests import fork_server

JOIN = "import socket as s,sys;c=s.socket(s.AF_UNIX);c.connect(sys.argv[1]);s.send_fds(c,[b'.'],[0,1,2]);c.recv(1)"
"""What xdist starts instead of a test process: it lives as long as the process that is forked for it."""

STANDARD_STREAMS = 3


class Imported:
    """The process that imports the tests, as the controller of a test run sees it.

    Args:
        arguments: Folders and files of tests.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="import-once-")
        self._path = str(Path(self._folder.name) / "socket")
        command = (sys.executable, "-m", "tests.import_once", self._path, *arguments)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._source = fork_server.ForkServer()
        self._is_ready = False

    def ready(self) -> str:
        """Wait until all is imported; return the command of a test process."""
        self._is_ready = True
        os.environ[fork_server.SOURCE_VARIABLE] = self._source.ready().path
        assert self._process.stdout
        if not self._process.stdout.readline():
            raise RuntimeError("the process that imports the tests did not start")
        return shlex.join([sys.executable, "-S", "-E", "-c", JOIN, self._path])

    def close(self) -> None:
        """End both processes."""
        if not self._is_ready:  # a server ends with its owner, which it has to have first
            self._source.ready()
        self._process.communicate()
        self._source.close()
        self._folder.cleanup()


class _Plugin:
    """What the controller of a test run does."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._imported = Imported(arguments)

    def pytest_xdist_setupnodes(self, specs: Sequence[Any]) -> None:
        command = self._imported.ready()
        for spec in specs:
            spec.python = command

    def pytest_unconfigure(self) -> None:
        self._imported.close()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start importing, unless tests run in this process, or are measured while they are imported."""
    options = attrgetter("known_args_namespace")(early_config)
    is_controller = "PYTEST_XDIST_WORKER" not in os.environ and getattr(options, "numprocesses", None)
    # Not by `cov_source`, which pytest-cov has emptied by now where `--cov` names no folder.
    is_measured = any(str(argument).startswith("--cov") for argument in early_config.invocation_params.args)
    if is_controller and not is_measured:
        early_config.pluginmanager.register(_Plugin(options.file_or_dir))


class _Importer:
    """Imports the tests, and forks test processes until the controller is gone."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        gc.disable()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # as pyproject.toml has it
            for name in _modules(config):
                # What is wrong with a module, the test processes say: each of them imports it again.
                with suppress(Exception, pytest.skip.Exception):
                    importlib.import_module(name)
        gc.collect()
        gc.freeze()
        self._serve()
        return 0

    def _serve(self) -> None:
        interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the test processes get it, too, and end
        os.write(1, b"ready\n")
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(self._listener, selectors.EVENT_READ)
            while 0 not in [key.fd for key, _ in selector.select()]:
                client, _ = self._listener.accept()
                _, streams, _, _ = socket.recv_fds(client, 1, STANDARD_STREAMS)
                if not os.fork():
                    signal.signal(signal.SIGINT, interrupted)
                    selector.close()
                    self._listener.close()
                    _become(streams)
                client.close()
                for stream in streams:
                    os.close(stream)
        with suppress(ChildProcessError):
            while True:
                os.wait()  # so that what they cost counts as ours


def _modules(config: pytest.Config) -> Iterator[str]:
    for argument in config.args:
        path = Path(argument.partition("::")[0]).absolute()
        for file in [path] if path.is_file() else sorted(path.rglob("test_*.py")):
            yield ".".join(file.relative_to(config.rootpath).with_suffix("").parts)


def _become(streams: Sequence[int]) -> NoReturn:
    """Do in this, the forked, process what execnet's command would do in a fresh one."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    exec(eval(sys.stdin.readline()), {"__name__": "__main__"})  # noqa: S307, S102
    sys.exit()


if __name__ == "__main__":
    pytest.main(["--capture=no", *sys.argv[2:]], plugins=[_Importer(sys.argv[1])])
