"""A body that comes slowly, compressed, or from a stranger holds nothing. PROTOCOL: Http/Slow bodies, Http/Encoding."""

import asyncio
import gzip
import itertools
import time
from collections.abc import AsyncIterator

import httpx2
import pytest
from pydantic import SecretStr

from midstream import counters
from midstream.http import body_limit
from midstream.http.app import create_app
from midstream.settings import Settings
from tests import inside
from tests.contract.content_doors import DOORS, JSON
from tests.contract.raw_connections import open_connection
from tests.contract.ws_talk import dial

pytestmark = pytest.mark.both_ways

PERIOD_S = 0.4
RATE = 1_000
LEAST_BYTES = int(PERIOD_S * RATE)
KEY = "k" * 32
OURS = {"Authorization": f"Bearer {KEY}"}
READ = b'{"model": "demo/none", "input": "x"}'
"""A body that is refused as soon as it was read: 422."""


@pytest.fixture
def closed(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_keys": SecretStr(f"{KEY}:acme")})


def strict(settings: Settings, period_s: float) -> Settings:
    return settings.model_copy(update={"body_timeout_ms": round(period_s * 1_000), "min_body_bytes_per_s": RATE})


@pytest.fixture
async def client(closed: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.broker(strict(closed, PERIOD_S)) as client:
        yield client


def head(path: str, length: int | None, key: str | None = KEY, method: str = "POST") -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    credential = f"Authorization: Bearer {key}\r\n" if key else ""
    lines = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{credential}{framing}"
    return f"{lines}\r\n\r\n".encode()


async def first_answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Return the status and the text of an answer whose length is known."""
    async with asyncio.timeout(10):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(lines.partition("content-length:")[2].partition("\r\n")[0])
        return int(lines[9:12]), lines + (await reader.readexactly(length)).decode()


@pytest.mark.parametrize("path", DOORS)
async def test_half_a_body_is_refused_in_time_at_every_door(client: httpx2.AsyncClient, path: str) -> None:
    before = counters.counts().get(("refused", "body_timeout"), 0)
    reader, writer = await open_connection(client)
    try:
        began_s = time.monotonic()
        writer.write(head(path, 500) + (DOORS[path] % b"{}")[:40])
        status, text = await first_answer(reader)
        assert PERIOD_S <= time.monotonic() - began_s < 5
        assert await reader.read() == b""
    finally:
        writer.transport.abort()
    assert status == 408
    assert "\r\nconnection: close\r\n" in text
    assert "body_timeout" in text or path == "/v1/messages"  # Anthropic's errors have no place for a code
    assert "MIDSTREAM_BODY_TIMEOUT_MS" in text
    assert counters.counts()["refused", "body_timeout"] == before + 1


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_that_drips_is_refused(client: httpx2.AsyncClient, is_chunked: bool) -> None:
    reader, writer = await open_connection(client)
    began_s = time.monotonic()

    async def drip() -> None:
        writer.write(head("/v1/streams", None if is_chunked else 100_000))
        for _ in itertools.count():
            writer.write(b"1\r\n \r\n" if is_chunked else b" ")
            await writer.drain()
            await asyncio.sleep(PERIOD_S / 20)

    dripping = asyncio.create_task(drip())
    try:
        status, _ = await first_answer(reader)
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.transport.abort()
    assert status == 408
    assert time.monotonic() - began_s < 5 * PERIOD_S


async def test_a_long_body_that_keeps_coming_is_taken(closed: Settings) -> None:
    period_s = 4 * PERIOD_S  # this process may stand for longer than the others' period, where the machine is busy
    piece_bytes = int(period_s * RATE) // 2
    body = READ + b" " * (16 * piece_bytes - len(READ))
    async with inside.broker(strict(closed, period_s)) as client:
        reader, writer = await open_connection(client)
        try:
            began_s = time.monotonic()
            writer.write(head("/v1/streams", len(body)))
            for begin in range(0, len(body), piece_bytes):
                await asyncio.sleep(period_s / 8)  # four times as fast as it must be
                writer.write(body[begin : begin + piece_bytes])
            status, text = await first_answer(reader)
            assert time.monotonic() - began_s > period_s
        finally:
            writer.transport.abort()
    assert status == 422, text


async def test_a_body_that_comes_at_once_and_then_not_is_refused_a_period_later(client: httpx2.AsyncClient) -> None:
    reader, writer = await open_connection(client)
    try:
        began_s = time.monotonic()
        writer.write(head("/v1/streams", 1_000_000) + b" " * 900_000)
        status, _ = await first_answer(reader)
    finally:
        writer.transport.abort()
    assert status == 408
    assert time.monotonic() - began_s < 5 * PERIOD_S


async def test_what_is_discarded_of_a_body_that_is_too_large_has_its_time(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limit, "DISCARD_S", PERIOD_S)
    reader, writer = await open_connection(client)
    try:
        writer.write(head("/v1/streams", 10**9, key=None) + b" ")
        status, _ = await first_answer(reader)
    finally:
        writer.transport.abort()
    assert status == 413


def taking_bodies(settings: Settings) -> list[tuple[str, str]]:
    """Return all routes of the document that take a body."""
    paths = create_app(settings).openapi()["paths"]
    return [
        (method, path) for path, methods in paths.items() for method, route in methods.items() if "requestBody" in route
    ]


async def test_a_stranger_is_answered_before_its_body_at_every_route(closed: Settings) -> None:
    """Access/Before the body."""
    routes = taking_bodies(closed)
    assert len(routes) > 8
    async with inside.broker(closed) as client:
        for (method, path), key in itertools.product(routes, [None, "another"]):
            reader, writer = await open_connection(client)
            try:
                writer.write(head(path.replace("{", "").replace("}", ""), 60_000, key, method.upper()) + b"{")
                status, text = await first_answer(reader)
            finally:
                writer.transport.abort()
            assert status == 401, (path, text)


async def test_strangers_bodies_take_no_memory_from_others(closed: Settings) -> None:
    """Access/Before the body."""
    tight = closed.model_copy(update={"max_bodies_bytes": closed.max_body_bytes})
    async with inside.broker(tight) as client:
        strangers = [await open_connection(client) for _ in range(5)]
        try:
            for reader, writer in strangers:
                writer.write(head("/v1/streams", 1_000_000, "another") + b" " * 999_999)
                assert (await first_answer(reader))[0] == 401
            body = READ + b" " * 900_000
            answer = await client.post("/v1/streams", content=body, headers=JSON | OURS)
        finally:
            for _, writer in strangers:
                writer.transport.abort()
    assert answer.status_code == 422, answer.text


async def test_a_stranger_that_sends_all_of_its_body_can_ask_again(closed: Settings) -> None:
    async with inside.broker(closed) as client:
        reader, writer = await open_connection(client)
        try:
            for key, status in (("another", 401), (KEY, 422)):
                body = READ + b" " * 300_000
                writer.write(head("/v1/streams", len(body), key) + body)
                assert (await first_answer(reader))[0] == status
        finally:
            writer.transport.abort()


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, GZIP", "x"])
@pytest.mark.parametrize("path", DOORS)
async def test_a_compressed_body_is_refused_by_name(client: httpx2.AsyncClient, path: str, encoding: str) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    answer = await client.post(path, content=bomb, headers=JSON | OURS | {"Content-Encoding": encoding})
    assert answer.status_code == 415
    assert "Content-Encoding" in answer.text
    assert answer.headers["accept-encoding"] == "identity"
    code = answer.headers.get("error-code") or answer.text
    assert "unsupported_encoding" in code or path == "/v1/messages"


async def test_an_encoding_that_is_none_is_taken(client: httpx2.AsyncClient) -> None:
    headers = JSON | OURS | {"Content-Encoding": "identity"}
    answer = await client.post("/v1/streams", content=READ, headers=headers)
    assert answer.status_code == 422


async def test_a_socket_opens_without_compression(client: httpx2.AsyncClient) -> None:
    async with dial(client, additional_headers=OURS, compression="deflate") as talk:
        await talk.hear("ready")
        offered, taken = talk.socket.request, talk.socket.response
        assert offered is not None
        assert taken is not None
        assert "Sec-WebSocket-Extensions" in offered.headers
        assert "Sec-WebSocket-Extensions" not in taken.headers
