"""The processes of a rig: each with its own log, its own way to Redis, and signals by name."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from tests.faults.proxy import Proxy
from tests.faults.zygote import Zygote
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
READY_S = 30.0
LOG_TAIL_CHARS = 3_000


class Member:
    """One process and the proxy by which it reaches Redis."""

    def __init__(self, zygote: Zygote, name: str, folder: Path, redis_port: int, environment: dict[str, str]) -> None:
        self.name = name
        self.proxy = Proxy(free_port(), redis_port)
        self.pid = 0
        self._zygote = zygote
        self._log = folder / f"{name}.log"
        self._environment = environment | {"MIDSTREAM_REDIS_URL": f"redis://127.0.0.1:{self.proxy.port}/0"}

    async def start(self, words: str, *arguments: str) -> None:
        """Start it and return once it has written these words.

        Raises:
            RuntimeError: It has exited instead.
            TimeoutError: It did neither in time.
        """
        await self.proxy.open()
        self.pid = await self._zygote.fork(self._log, self._environment, list(arguments))
        async with asyncio.timeout(READY_S):
            while words not in self.log_tail():
                if not self.alive:
                    raise RuntimeError(f"{self.name} has exited:\n{self.log_tail()}")
                await asyncio.sleep(0.005)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return bool(self.pid) and not self._zygote.exit_of(self.pid).done()

    def log_tail(self) -> str:
        """Return the last of what it has written."""
        return self._log.read_text(errors="replace")[-LOG_TAIL_CHARS:] if self._log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

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
        async with asyncio.timeout(limit_s):
            code = await asyncio.shield(self._zygote.exit_of(self.pid))
        await self.proxy.close()
        return code


def base_environment() -> dict[str, str]:
    """Return the environment of every process: nothing of the developer's but the path."""
    keep = ("PATH", "HOME", "TMPDIR", "TEST_RUN")
    return {name: os.environ[name] for name in keep if name in os.environ} | {"PYTHONPATH": str(ROOT)}
