"""The shipped nginx site in front of the running system: nothing is held back, and silence is not cut."""

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from tests import sse
from tests.servers import free_port
from tests.system import ROOT, System

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
SITE = ROOT / "examples" / "nginx" / "midstream.conf"
SHELL = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {settings}
    include {folder}/site.conf;
}}
"""


@contextlib.asynccontextmanager
async def proxied(system: System, folder: Path, settings: str = "") -> AsyncIterator[str]:
    """Run nginx with the shipped site in front of the broker; yield its URL."""
    if NGINX is None:
        pytest.skip("there is no `nginx` on the PATH")
    port = free_port()
    site = (
        SITE.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{system.port}").replace("listen 8081", f"listen {port}")
    )
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(SHELL.format(folder=folder, settings=settings))
    process = await asyncio.create_subprocess_exec(NGINX, "-e", folder / "error.log", "-c", folder / "nginx.conf")
    try:
        async with httpx2.AsyncClient() as client, asyncio.timeout(10):
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    if (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200:
                        break
                assert process.returncode is None, (folder / "error.log").read_text()
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def arrivals(base: str, stream_id: str) -> dict[int, float]:
    """Return when each entry arrived, by this process's clock."""
    came = {}
    async with (
        httpx2.AsyncClient(base_url=base, timeout=30) as client,
        client.stream("GET", f"/v1/streams/{stream_id}/events") as answer,
    ):
        async for event in sse.parse(answer):
            came[event.id] = time.monotonic()
    return came


async def test_every_token_passes_at_once(redis_url: str, tmp_path: Path) -> None:
    async with System(redis_url, tmp_path) as system:
        await system.start()
        async with proxied(system, tmp_path) as base:
            params = {"words": 20, "delay_ms": 60}
            stream_id = await system.post(model="demo/count", input="x", params=params)
            direct, behind = await asyncio.gather(arrivals(system.url, stream_id), arrivals(base, stream_id))
    assert behind.keys() == direct.keys()
    late = sorted(behind[offset] - direct[offset] for offset in direct if offset > 1)
    assert late[len(late) // 2] < 0.05


async def test_silence_is_not_cut(redis_url: str, tmp_path: Path) -> None:
    # nginx's 60 s and the broker's heartbeat of 15 s, each thirty times as fast.
    async with System(redis_url, tmp_path, heartbeat_ms=500) as system:
        await system.start()
        async with proxied(system, tmp_path, "proxy_read_timeout 2s;") as base:
            params = {"words": 1, "delay_ms": 3_000}
            stream_id = await system.post(model="demo/count", input="x", params=params)
            came = await arrivals(base, stream_id)
            assert len(came) == (await system.ended(stream_id))["tail"]


async def test_sockets_pass_too(redis_url: str, tmp_path: Path) -> None:
    async with System(redis_url, tmp_path, demo_delay_ms=1) as system:
        await system.start()
        async with (
            proxied(system, tmp_path) as base,
            connect(f"{base.replace('http', 'ws')}/v1/ws", origin=Origin(base)) as socket,
        ):
            assert json.loads(await socket.recv())["type"] == "ready"
            await socket.send('{"type": "start", "request": {"model": "demo/count", "input": "x"}}')
            text = ""
            async for message in socket:
                heard = json.loads(message)
                text += "".join(entry.get("text", "") for entry in heard.get("entries", ()))
                if heard["type"] == "closed":
                    break
    assert text.endswith(" 99 100 ")
