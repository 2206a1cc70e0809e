"""What comes before a request can be read is bounded, in bytes and in time. PROTOCOL: Read/Heads."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from midstream.http.app import create_app
from midstream.settings import Settings
from tests import inside
from tests.contract.raw_connections import open_connection

START = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
HALF = b"POST /v1/streams HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
TIMEOUT_S = 0.3


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    quick = settings.model_copy(update={"head_timeout_ms": round(TIMEOUT_S * 1000)})
    async with inside.broker(quick) as client:
        yield client


async def answer(client: httpx2.AsyncClient, *parts: bytes, rest_s: float = 0) -> bytes:
    """Send parts, with a rest between them, and return what is answered until the server closes."""
    reader, writer = await open_connection(client)
    reading = asyncio.create_task(read_all(reader))  # meanwhile: what was not read is lost with a reset connection
    try:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                if rest_s:
                    await asyncio.sleep(rest_s)
        async with asyncio.timeout(10):
            return await reading
    finally:
        writer.transport.abort()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):  # reset: not all that was sent was read
        while part := await reader.read(65_536):
            received += part
    return received


@pytest.mark.parametrize(
    "flood",
    [(START, b"a: b\r\n" * 10_000), (START + b"a: ", b"b" * 65_536), (b"GET /", b"b" * 65_536), (START, b"b" * 65_536)],
    ids=["headers", "value", "url", "name"],
)
async def test_a_head_without_an_end_is_refused(client: httpx2.AsyncClient, flood: tuple[bytes, bytes]) -> None:
    beginning, more = flood
    reply = await answer(client, beginning, *[more] * 40)
    assert reply.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"\r\nconnection: close\r\n" in reply
    assert b'"code":"head_too_large"' in reply


@pytest.mark.parametrize(("size", "status"), [(60_000, b"200"), (70_000, b"431"), (200_000, b"431")])
async def test_a_head_that_comes_at_once_is_measured_alone(
    client: httpx2.AsyncClient, size: int, status: bytes
) -> None:
    reply = await answer(client, START + b"a: " + b"b" * size + b"\r\nConnection: close\r\n\r\n")
    assert reply[9:12] == status
    body = b"x" * 200_000
    post = b"POST /v1/streams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    assert (await answer(client, post))[9:12] == b"415"


async def test_trailers_without_an_end_are_cut(client: httpx2.AsyncClient) -> None:
    head = b"POST /v1/streams HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    assert await answer(client, head + b"2\r\n{}\r\n0\r\n", *[b"a: b\r\n" * 10_000] * 40) == b""


@pytest.mark.parametrize("parts", [[START], [bytes([byte]) for byte in START]], ids=["halted", "dripping"])
async def test_a_head_that_does_not_come_in_time_is_refused(client: httpx2.AsyncClient, parts: list[bytes]) -> None:
    began_s = time.monotonic()
    reply = await answer(client, *parts, rest_s=TIMEOUT_S / 10)
    assert reply.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b'"code":"head_timeout"' in reply
    assert time.monotonic() - began_s >= TIMEOUT_S


async def test_who_asks_nothing_is_closed_without_a_word(client: httpx2.AsyncClient) -> None:
    assert await answer(client) == b""


async def test_a_second_head_is_timed_too(client: httpx2.AsyncClient) -> None:
    reply = await answer(client, START + b"\r\n", START, rest_s=0.05)
    assert reply.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 408 " in reply


async def test_a_request_that_has_not_come_whole_holds_no_stop(settings: Settings) -> None:
    async with inside.broker(settings) as client:
        asking = asyncio.create_task(answer(client, HALF))
        await client.get("/healthz")  # by now the other one has been taken
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 0.9  # after a second, the server itself would cancel it
    reply = await asking
    assert reply.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in reply


async def test_a_request_that_ends_in_500_says_that_its_connection_closes(settings: Settings) -> None:
    """Http/Request ids."""
    app = create_app(settings)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError

    async with inside.served(settings, app) as client:
        answers = [await client.get("/broken"), await client.get("/healthz")]
        assert [(answer.status_code, answer.headers.get("connection")) for answer in answers] == [
            (500, "close"),
            (200, None),
        ]


UPGRADE = (
    b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    "first", [b"POST /v1/ws HTTP/1.1\r\n", b"GET /v1/ws HTTP/1.1\r\nContent-Length: 9\r\n"], ids=["POST", "half a body"]
)
async def test_another_request_to_upgrade_than_a_plain_get_is_refused(client: httpx2.AsyncClient, first: bytes) -> None:
    """Read/Next: it would wait without a limit."""
    assert (await answer(client, first + UPGRADE + b"\r\n")).startswith(b"HTTP/1.1 400")


async def test_a_websocket_overtakes_no_answer(client: httpx2.AsyncClient) -> None:
    """Read/Next."""
    upgrade = b"GET /v1/ws HTTP/1.1\r\n" + UPGRADE
    assert b"HTTP/1.1 101" not in await answer(client, START + b"\r\n" + upgrade + b"\r\n")
    reader, writer = await open_connection(client)
    for request, status in ((START, b"200"), (upgrade, b"101")):  # after the answer it is opened
        writer.write(request + b"\r\n")
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status)
        if request is START:
            await reader.readexactly(len(b'{"status":"ok"}'))
    writer.transport.abort()
