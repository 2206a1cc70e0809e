"""The processes of a rig: each with its own log, its own way to Redis, and signals by name."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from tests.faults.proxy import Proxy
from tests.fork_server import Forked, ForkServer
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
READY_S = 30.0
LOG_TAIL_CHARS = 3_000


class Member:
    """One process and the proxy by which it reaches Redis."""

    def __init__(
        self, fork_server: ForkServer, name: str, folder: Path, redis_port: int, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.proxy = Proxy(free_port(), redis_port)
        self._fork_server = fork_server
        self._process: Forked | None = None
        self._folder = folder
        self._log = folder / f"{name}.log"
        # A log that is not one server is dialled past the proxy.
        self._environment = {"MIDSTREAM_REDIS_URL": f"redis://127.0.0.1:{self.proxy.port}/0"} | dict(environment)

    async def start(self, words: str, *arguments: str) -> None:
        """Start it and return once it has written these words.

        Raises:
            RuntimeError: It has exited instead.
            TimeoutError: It did neither in time.
        """
        await self.proxy.open()
        self._process = await self._fork_server.fork(self._log, self._environment, list(arguments), self._folder)
        async with asyncio.timeout(READY_S):
            while words not in self.log_tail():
                if not self.alive:
                    raise RuntimeError(f"{self.name} has exited:\n{self.log_tail()}")
                await asyncio.sleep(0.005)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self._process.pid if self._process else 0

    def log(self) -> str:
        """Return all that it has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log_tail(self) -> str:
        """Return the last of what it has written."""
        return self._log.read_text(errors="replace")[-LOG_TAIL_CHARS:] if self._log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop it in the midst of whatever it does."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        self.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """Let it crash, and break its connections."""
        self.signal(signal.SIGKILL)
        await self.gone()

    async def gone(self, limit_s: float = 30.0) -> int:
        """Wait until it has exited; return its exit code.

        Raises:
            TimeoutError: It still runs.
        """
        assert self._process, "it was never started"
        async with asyncio.timeout(limit_s):
            code = await self._process.wait()
        await self.proxy.close()
        return code


def base_environment() -> dict[str, str]:
    """Return the environment of every process: nothing of the developer's but the path."""
    keep = ("PATH", "HOME", "TMPDIR", "TEST_RUN", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in keep if name in os.environ} | {"PYTHONPATH": str(ROOT)}
