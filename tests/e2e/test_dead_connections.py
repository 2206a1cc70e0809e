"""`/midstream.js` on a connection that is dead though nobody says so (PROTOCOL: Read/Heartbeat)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from midstream.testing.provider.script import Script, directive
from tests.e2e.following import FOLLOW, begun
from tests.provider.client import ProviderServer
from tests.system import System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser

CHUNK = 65_536
SILENCE_MS = 5_000
"""What a page takes for a dead connection, which is 20 s outside of tests, as the heartbeats come every 15 s there."""


class Tunnel:
    """Forwards connections to a port, until they go dead; those that are opened later work.

    Attributes:
        url: Where it listens.
    """

    url: str

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._tasks: set[asyncio.Task[None]] = set()
        self._generation = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, target_port: int) -> AsyncIterator["Tunnel"]:
        """Listen, and take everything down at the end."""
        tunnel = cls(target_port)
        server = await asyncio.start_server(tunnel._serve, "127.0.0.1", 0)
        tunnel.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield tunnel
        finally:
            server.close()
            for task in tuple(tunnel._tasks):
                task.cancel()
            await asyncio.gather(*tunnel._tasks, return_exceptions=True)

    async def go_dead(self) -> None:
        """Let nothing pass on the connection that there is, once the idle ones beside it are closed."""
        while len(self._tasks) > 1:
            await asyncio.sleep(0.05)
        self._generation += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        pumps = [
            asyncio.create_task(self._pump(*ends, self._generation))
            for ends in ((reader, their_writer), (their_reader, writer))
        ]
        try:
            with contextlib.suppress(asyncio.CancelledError):  # the server that started this reports it otherwise
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, their_writer):
                end.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, generation: int) -> None:
        while data := await reader.read(CHUNK):
            if generation == self._generation:
                writer.write(data)
                await writer.drain()


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer) -> AsyncIterator[System]:
    # Chromium's processes take what the worker needs to renew a shorter lease.
    async with System(redis_url, tmp_path, provider.url, lease_ms=10_000, heartbeat_ms=3_000) as running:
        yield await running.start()


async def test_a_dead_connection_is_given_up_when_a_network_comes_back_and_by_its_missing_heartbeats(
    tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    script = Script(words=3_000, delay_ms=20)
    stream_id = await system.post(input=directive(script), model="openai/gpt")
    async with Tunnel.to(system.port) as tunnel:
        tabs.expected.add("net::ERR_")
        await tabs.hurry(SILENCE_MS=SILENCE_MS)
        page = await tabs.open(tunnel.url)
        await page.evaluate(FOLLOW, [stream_id, {}])
        await begun(page, "w10 ")

        await tunnel.go_dead()
        stood = await page.evaluate("read.offsets.length")
        # Chromium's own switch is not used: the first request after it fails.
        await page.evaluate("void dispatchEvent(new Event('online'))")
        began_s = time.monotonic()
        await begun(page, f"w{stood + 20} ")
        assert time.monotonic() - began_s < 3

        await tunnel.go_dead()
        stood = await page.evaluate("read.offsets.length")
        began_s = time.monotonic()
        await begun(page, f"w{stood + 20} ")
        assert time.monotonic() - began_s < SILENCE_MS / 1_000 + 3
        await system.http.post(f"/v1/streams/{stream_id}/cancel")
        await page.evaluate("following.then(() => {})")
        seen = await page.evaluate("read")
    assert (seen["end"], seen["offsets"]) == ("cancelled", list(range(1, len(seen["offsets"]) + 1)))
    assert script.text().startswith(seen["text"])
    assert len(await provider.calls()) == 1
