"""Another version of uvicorn costs speed, and nothing else. PROTOCOL: Read/Fast path."""

import asyncio
import contextlib
import importlib
import logging
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import Request, WebSocket
from websockets.asyncio.client import connect

from midstream.cli.setup import listen
from midstream.http.app import create_app
from midstream.http.fast_path import tested_uvicorn
from midstream.http.fast_path.tested_uvicorn import NEEDS, TESTED, misfit
from midstream.http.fast_path.wire import EXTENSION, SOCKET_EXTENSION
from midstream.settings import Settings
from tests import inside, sse
from tests.contract.raw_connections import COUNT, begun

ROOT = Path(__file__).parents[2]


def test_the_tested_versions_are_bounds_of_what_is_installed() -> None:
    """Read/Fast path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {line.partition(">=")[0].partition("[")[0]: line for line in project["optional-dependencies"]["server"]}
    for package, (first, end) in TESTED.items():
        assert bounds[package].endswith(f">={first},<{end}")
    assert misfit() is None


async def test_what_is_needed_of_uvicorn_is_there_while_it_serves(settings: Settings) -> None:
    """Read/Fast path."""
    app = create_app(settings)
    seen: dict[str, Any] = {}

    @app.get("/look")
    async def look(request: Request) -> None:
        protocol = request.scope["extensions"][EXTENSION]
        seen.update(HttpToolsProtocol=protocol, RequestResponseCycle=protocol.cycle, FlowControl=protocol.flow)

    @app.websocket("/look")
    async def look_at_socket(socket: WebSocket) -> None:
        await socket.accept()
        protocol = socket.scope["extensions"][SOCKET_EXTENSION]
        seen.update(WebSocketsSansIOProtocol=protocol, ServerProtocol=protocol.conn, Request=None)
        await socket.close()

    async with inside.served(settings, app) as client:
        assert (await client.get("/look")).status_code == 200
        async with connect(f"ws://{client.base_url.host}:{client.base_url.port}/look") as socket:
            await socket.wait_closed()
    assert {where.partition(":")[2] for where in NEEDS} == seen.keys()
    for where, names in NEEDS.items():
        module, _, kind = where.partition(":")
        assert hasattr(importlib.import_module(module), kind)
        assert [name for name in names if not hasattr(seen[kind], name)] == []


@pytest.mark.parametrize("version", ["0.53.9", "0.55.0", "1.0.0.dev1"])
async def test_an_unknown_version_is_told_and_serves_plainly(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    """Read/Fast path."""
    monkeypatch.setattr(uvicorn, "__version__", version)
    async with inside.worker(settings), inside.broker(settings) as client:
        assert f"uvicorn {version} is installed, and the fast path was tested with uvicorn 0.54" in caplog.text
        assert "MIDSTREAM_HEAD_TIMEOUT_MS" in caplog.text
        assert (await sse.tail(client, await begun(client, COUNT)))[-1].type == "end"


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("uvicorn.protocols.http.httptools_impl:HttpToolsProtocol", ("cycle", "no_such_name")),
        ("uvicorn.protocols.http.no_such_module:HttpToolsProtocol", ("cycle",)),
        ("uvicorn.protocols.http.httptools_impl:NoSuchClass", ("cycle",)),
    ],
)
async def test_a_missing_name_is_told_and_serves_plainly(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
    names: tuple[str, ...],
) -> None:
    """Read/Fast path."""
    monkeypatch.setattr(tested_uvicorn, "NEEDS", {where: names})
    with caplog.at_level(logging.WARNING):
        async with inside.broker(settings) as client:
            assert f"has no {where}." in caplog.text
            assert (await client.get("/readyz")).status_code == 200


async def test_a_broker_starts_on_an_unknown_version(settings: Settings) -> None:
    """Read/Fast path."""
    code = "import uvicorn; uvicorn.__version__ = '0.99.0'; from midstream.cli.main import main; main()"
    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        broker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, "broker", "--fd", str(listener.fileno())),
            env={**os.environ, "MIDSTREAM_REDIS_URL": settings.redis_url.get_secret_value()},
            pass_fds=(listener.fileno(),),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.1 200")
                writer.close()
        finally:
            broker.terminate()
            _, messages = await broker.communicate()
    assert b"uvicorn 0.99.0 is installed, and the fast path was tested with uvicorn 0.54" in messages
