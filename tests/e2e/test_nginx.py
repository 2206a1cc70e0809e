"""The shipped nginx site in front of the running system: nothing is held back, and silence is not cut."""

import asyncio
import contextlib
import itertools
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from annotated_types import Le
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.typing import Origin

from midstream.log.entries import parse_publication
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import sse
from tests.provider.client import ProviderServer
from tests.servers import free_port, http_server
from tests.system import ROOT, System

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
SITE = ROOT / "examples" / "nginx" / "midstream.conf"
SHELL = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
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
    url = f"http://127.0.0.1:{port}"
    words = (NGINX, "-e", "stderr", "-c", folder / "nginx.conf")
    async with http_server(f"{url}/healthz", words, folder / "nginx.log"):
        yield url


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


async def test_the_first_token_passes_at_once(redis_url: str, tmp_path: Path) -> None:
    async with (
        System(redis_url, tmp_path, demo_delay_ms=20) as system,
        appends(redis_url) as appended,
    ):
        await system.start()
        async with proxied(system, tmp_path) as base, httpx2.AsyncClient(base_url=base, timeout=30) as client:
            came = dict([await first_token(client) for _ in range(100)])
    late_ms = sorted(1_000 * (came[stream_id] - appended[stream_id]) for stream_id in came)
    sys.stdout.write(f"first token after its append, of 100: p50 {late_ms[49]:.1f} ms, p99 {late_ms[98]:.1f} ms\n")
    assert late_ms[94] < 50, late_ms  # the machine may stumble, the proxy may not


@contextlib.asynccontextmanager
async def appends(redis_url: str) -> AsyncIterator[dict[str, float]]:
    """Note when each stream's first text was appended: a publication leaves in the same script."""
    first: dict[str, float] = {}

    async def note() -> None:
        async for message in channels.listen():
            if message["type"] == "pmessage" and any(
                it.content[:1] == b"t" for it in parse_publication(message["data"])
            ):
                first.setdefault(message["channel"].decode().strip("ms:{}"), time.monotonic())

    async with Redis.from_url(redis_url) as redis, redis.pubsub() as channels:
        await channels.psubscribe("ms:{*}")
        noting = asyncio.create_task(note())
        yield first
        noting.cancel()
        await asyncio.wait((noting,))


async def first_token(client: httpx2.AsyncClient) -> tuple[str, float]:
    """Return a new stream, and when its first text came through."""
    body = {"model": "demo/count", "input": "x", "params": {"words": 2}, "stream": True}
    async with client.stream("POST", "/v1/streams", json=body) as answer:
        came = [time.monotonic() async for event in sse.parse(answer) if event.type == "text"]
        return answer.headers["stream-id"], came[0]


def test_the_broker_speaks_before_nginx_gives_up() -> None:
    assert "_timeout" not in SITE.read_text(), "nginx's own limits hold, of 60 s"
    longest_ms = next(it.le for it in Settings.model_fields["heartbeat_ms"].metadata if isinstance(it, Le))
    assert longest_ms == 15_000


async def test_a_silence_far_beyond_nginx_s_limit_is_not_cut(
    redis_url: str, tmp_path: Path, provider: ProviderServer
) -> None:
    # A twentieth of the real limits: it is the broker's heartbeat that keeps the connection.
    silence_ms = 4_500
    async with System(redis_url, tmp_path, provider.url, heartbeat_ms=750) as system:
        await system.start()
        async with proxied(system, tmp_path, "proxy_read_timeout 3s;") as base:
            silent = directive(Script(words=3, first_delay_ms=silence_ms))
            stream_id = await system.post(model="openai/gpt", input=silent)
            begun = time.monotonic()
            came = await arrivals(base, stream_id)
            ended = await system.ended(stream_id)
            assert (ended["outcome"], list(came)) == ("completed", list(range(1, ended["tail"] + 1)))
            gaps = [later - earlier for earlier, later in itertools.pairwise([begun, *came.values()])]
            assert max(gaps) > 4


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
                event = json.loads(message)
                text += "".join(entry.get("text", "") for entry in event.get("entries", ()))
                if event["type"] == "closed":
                    break
    assert text.endswith(" 99 100 ")
