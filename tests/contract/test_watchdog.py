"""A process whose event loop stands still is ended; one that was itself stopped is not. PROTOCOL: Read/Alive."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from midstream.cli.setup import listen
from midstream.cli.watchdog import STALLED_STATUS
from midstream.settings import Settings

BROKER = """
import socket, sys, time
from midstream.cli.serve import DrainingServer
from midstream.http.app import create_app
from midstream.settings import Settings

settings = Settings()
app = create_app(settings)

@app.get("/stand-still")
async def stand_still():
    {blocks}

DrainingServer(app, settings).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""
STALL_MS = 600


@asynccontextmanager
async def broker(settings: Settings, blocks: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Run a broker with a route that keeps its loop from turning; yield it and its port."""
    environment = {
        "MIDSTREAM_REDIS_URL": settings.redis_url.get_secret_value(),
        "MIDSTREAM_LOOP_STALL_MS": str(STALL_MS),
    }
    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            BROKER.format(blocks=blocks),
            str(listener.fileno()),
            env={**os.environ, **environment},
            pass_fds=(listener.fileno(),),
            stderr=asyncio.subprocess.PIPE,
        )
        port = listener.getsockname()[1]
        try:
            yield process, port
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def answer_to(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    try:
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


async def test_a_broker_whose_loop_stands_still_is_ended_and_says_where(settings: Settings) -> None:
    async with broker(settings, "while True: time.sleep(0.01)") as (process, port):
        assert b"200 OK" in await answer_to(port, "/healthz")
        with contextlib.suppress(ConnectionError):
            assert await answer_to(port, "/stand-still") == b""
        assert process.stderr
        report = (await process.stderr.read()).decode()
        assert await asyncio.wait_for(process.wait(), 10) == STALLED_STATUS
        assert "has not turned for 0.6 s" in report
        assert "in stand_still" in report


async def test_a_loop_that_is_late_but_turns_is_left_alone(settings: Settings) -> None:
    async with broker(settings, f"time.sleep({STALL_MS / 4 / 1000})") as (process, port):
        for _ in range(6):
            assert b"200 OK" in await answer_to(port, "/stand-still")
        assert process.returncode is None


async def test_a_broker_that_was_stopped_itself_goes_on_when_it_is_woken(settings: Settings) -> None:
    async with broker(settings, "pass") as (process, port):
        for _ in range(3):
            assert b"200 OK" in await answer_to(port, "/healthz")
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2 * STALL_MS / 1000)
            process.send_signal(signal.SIGCONT)
        assert b"200 OK" in await answer_to(port, "/healthz")
        assert process.returncode is None
