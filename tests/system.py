"""The whole system as real processes: broker, worker, and the provider that counts what is paid."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from tests import declared, fork_server
from tests.fork_server import Forked
from tests.servers import free_port

ROOT = Path(__file__).parent.parent
READY_S = 20.0


class System:
    """Starts and stops processes; everything that was started ends with it."""

    def __init__(self, redis_url: str, folder: Path, provider_url: str | None = None, **settings: object) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx2.AsyncClient(base_url=self.url, timeout=30, event_hooks={"response": [declared.check]})
        self.workers: list[Forked] = []
        self.brokers: list[Forked] = []
        self.broker_arguments: tuple[str, ...] = ()
        self._folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            # Without it a worker loads all authorities that it may trust, for 47 ms of CPU.
            "SSL_CERT_FILE": str(ROOT / "tests" / "data" / "no_authority.pem"),
            "MIDSTREAM_REDIS_URL": redis_url,
            # Long enough for a worker that has to share two processors with a browser and other tests.
            "MIDSTREAM_LEASE_MS": "3000",
            "MIDSTREAM_LOG_LEVEL": "info",
            **{f"MIDSTREAM_{name.upper()}": str(value) for name, value in settings.items()},
        }
        if provider_url is not None:
            self.environment |= {
                "OPENAI_API_KEY": "sk-test",
                "OPENAI_BASE_URL": f"{provider_url}/v1",
                "ANTHROPIC_API_KEY": "sk-ant-test",
                "ANTHROPIC_BASE_URL": provider_url,
            }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()
        for process in (*self.workers, *self.brokers):
            await stop(process)
        if kind is not None:
            for log in sorted(self._folder.glob("*.log")):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-4000:]}\n")

    async def start(self, *, brokers: int = 1, workers: int = 1) -> Self:
        """Start processes and wait until the front answers."""
        for _ in range(workers):
            await self.start_worker()
        for _ in range(brokers):
            await self.start_broker()
        return self

    async def start_worker(self) -> Forked:
        """Start a worker; it is ready when its log says so."""
        process = await self._spawn(f"worker{len(self.workers)}", "worker")
        self.workers.append(process)
        await self._logged(f"worker{len(self.workers) - 1}", "worker ready", process)
        return process

    async def start_broker(self, port: int | None = None) -> Forked:
        """Start a broker and wait until it is ready."""
        port = self.port if port is None else port
        process = await self._spawn(
            f"broker{len(self.brokers)}", "midstream", "broker", "--port", str(port), *self.broker_arguments
        )
        self.brokers.append(process)
        async with httpx2.AsyncClient() as client, asyncio.timeout(READY_S):
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    if (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                        return process
                assert process.returncode is None, "the broker has exited"
                await asyncio.sleep(0.02)

    def log(self, name: str) -> str:
        """Return what a process has written so far."""
        return (self._folder / f"{name}.log").read_text()

    async def _logged(self, name: str, words: str, process: Forked) -> None:
        async with asyncio.timeout(READY_S):
            while words not in self.log(name):
                assert process.returncode is None, self.log(name)
                await asyncio.sleep(0.02)

    async def _spawn(self, name: str, *arguments: str) -> Forked:
        # A fresh log before the process opens it: who reads it must not meet the words of a forerunner.
        log = self._folder / f"{name}.log"
        log.write_bytes(b"")
        server = await asyncio.to_thread(fork_server.shared)
        return await server.fork(log, self.environment, list(arguments), self._folder)

    async def post(self, **body: Any) -> str:
        """Start a stream and return its id."""
        answer = await self.http.post("/v1/streams", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def ended(self, stream_id: str, wait_s: float = 20) -> dict[str, Any]:
        """Wait for a stream's end and return all that there is to know."""
        answer = await self.http.get(f"/v1/streams/{stream_id}", params={"wait": wait_s}, timeout=wait_s + 10)
        state: dict[str, Any] = answer.json()
        assert state.get("status") == "ended", state
        return state


async def stop(process: Forked, number: int = signal.SIGTERM) -> None:
    """End a process: SIGTERM, then SIGKILL."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()
