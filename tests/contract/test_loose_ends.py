"""What a request leaves open when it is answered: the rest of its body, of its answer, and further requests.

PROTOCOL: Read/Connections.
"""

import asyncio
import itertools
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from midstream.http.fast_path import connections
from midstream.http.fast_path.heads import MOST_PIPELINED
from midstream.settings import Settings
from tests.contract.strangers import ASK, HALF_HEAD, SOON_S, counted, hasty, is_served, opening, refused, until_closed
from tests.leaks import Belongings

LARGE_FILE = "/docs/files/swagger-ui-bundle.js"


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return hasty(settings)


@pytest.mark.parametrize("drips", [False, True])
async def test_the_rest_of_a_body_after_its_answer_has_a_limit_too(quick: Settings, drips: bool) -> None:
    async with opening(quick) as (_, opened), counted("body_timeout"):
        reader, writer = await opened(HALF_HEAD + b"Content-Length: 100000\r\n\r\n")
        began_s = time.monotonic()

        async def drip() -> None:
            for _ in itertools.count() if drips else ():
                writer.write(b" ")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert b"HTTP/1.1 200" in await until_closed(reader)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        assert time.monotonic() - began_s < 2


async def test_a_connection_whose_body_came_after_its_answer_is_idle_then(
    quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvicorn forgets to time it."""
    monkeypatch.setattr(connections, "IDLE_S", 0.3)
    async with opening(quick) as (_, opened):
        reader, writer = await opened(HALF_HEAD + b"Content-Length: 3\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"abc")
        began_s = time.monotonic()
        await until_closed(reader)
        assert time.monotonic() - began_s < 2


@pytest.mark.parametrize("further", [b"", b"Connection: close\r\n"])
async def test_a_client_that_takes_nothing_of_an_answer_is_cut(quick: Settings, further: bytes) -> None:
    head = HALF_HEAD.replace(b"/healthz", LARGE_FILE.encode()) + further + b"\r\n"
    async with opening(quick) as (client, opened), counted("unread"):
        whole = len((await client.get(LARGE_FILE)).content)
        before = refused("unread")
        reader, _ = await opened(head * 8, limit=1)  # the kernel takes some of them
        async with asyncio.timeout(SOON_S):
            while refused("unread") == before:
                await asyncio.sleep(0.01)
        assert len(await until_closed(reader)) < 8 * whole


async def test_a_client_that_takes_its_answer_slowly_is_not_cut(quick: Settings) -> None:
    head = HALF_HEAD.replace(b"/healthz", LARGE_FILE.encode()) + b"Connection: close\r\n\r\n"
    async with opening(quick) as (client, opened):
        whole = len((await client.get(LARGE_FILE)).content)
        reader, _ = await opened(head, limit=65_536)
        received = b""
        began_s = time.monotonic()
        while part := await reader.read(32_768):
            received += part
            await asyncio.sleep(0.02)
        assert time.monotonic() - began_s > 2 * quick.send_timeout_ms / 1_000
        assert len(received.partition(b"\r\n\r\n")[2]) >= whole


async def test_what_all_have_not_taken_is_bounded(quick: Settings) -> None:
    head = HALF_HEAD.replace(b"/healthz", LARGE_FILE.encode()) + b"\r\n"
    async with opening(quick, unsent_bytes=65_536, send_timeout_ms=60_000) as (_, opened), counted("unread"):
        before = refused("unread")
        for _ in range(3):
            await opened(head * 8, limit=1)
        async with asyncio.timeout(SOON_S):
            while refused("unread") == before:
                await asyncio.sleep(0.01)


async def test_few_requests_may_be_sent_ahead(quick: Settings) -> None:
    """A request of 18 bytes costs some KiB."""
    async with opening(quick) as (_, opened):
        reader, writer = await opened(ASK * MOST_PIPELINED)
        writer.write_eof()
        assert (await until_closed(reader)).count(b"HTTP/1.1 200") in range(1, MOST_PIPELINED + 1)
        async with counted("too_many_ahead"):
            reader, _ = await opened(ASK * 5_000)
            assert (await until_closed(reader)).count(b"HTTP/1.1") < MOST_PIPELINED
        assert await is_served(opened)


def open_files(settings: Settings) -> int:
    """Count what this process has open, without connections to Redis: a broker dials one more whenever it needs it."""
    redis = f" to {urlsplit(settings.redis_address).port}"
    of_redis = sum(name.endswith(redis) for name in Belongings.now().sockets.values())
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - of_redis


async def test_packaged_files_take_no_file_and_no_thread_for_a_client(quick: Settings) -> None:
    async with opening(quick) as (client, opened):
        whole = await client.get(LARGE_FILE)
        again = await client.get(LARGE_FILE, headers={"If-None-Match": f"W/{whole.headers['etag']}"})
        assert (whole.status_code, again.status_code, again.content) == (200, 304, b"")
        assert (await client.head(LARGE_FILE)).headers["content-length"] == str(len(whole.content))
        for absent in ("/docs/files/none.js", "/page/../app.py", "/page/%2e%2e/app.py", "/page/midstream", "/page/"):
            assert (await client.get(absent)).status_code == 404
        head = HALF_HEAD.replace(b"/healthz", LARGE_FILE.encode()) + b"\r\n"
        before, threads = open_files(quick), threading.active_count()
        readers = [await opened(head * 8, limit=1) for _ in range(5)]
        for reader, _ in readers:
            await reader.readexactly(1)
        assert open_files(quick) <= before + 2 * len(readers)  # the sockets of both ends
        assert threading.active_count() == threads
