"""Streamed answers to prompts that are longer than what the server reads ahead. PROTOCOL: Read/Next, Read/Left."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import orjson
import pytest

from midstream.settings import Settings
from tests import inside
from tests.contract.raw_connections import open_connection, until_no_tails

LONG = "x" * 300_000
PARTS = [{"type": "text", "text": LONG}]
DOORS: dict[str, dict[str, Any]] = {
    "/v1/streams": {"input": LONG, "stream": True},
    "/v1/responses": {"input": LONG, "stream": True},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": LONG}], "stream": True},
    "/v1/messages": {"messages": [{"role": "user", "content": LONG}], "max_tokens": 99, "stream": True},
    "/api/chat": {
        "id": "c",
        "trigger": "submit-message",
        "messages": [{"id": "1", "role": "user", "parts": PARTS}],
        "params": {"delay_ms": 20},
    },
}


def post(path: str, body: Mapping[str, Any]) -> bytes:
    content = orjson.dumps({"model": "demo/count", **body})
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield client


@pytest.mark.parametrize("path", DOORS)
async def test_the_next_request_after_a_long_prompt_is_answered(client: httpx2.AsyncClient, path: str) -> None:
    reader, writer = await open_connection(client)
    writer.write(post(path, DOORS[path]))
    async with asyncio.timeout(20):
        await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(3):
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()


async def test_who_leaves_after_a_long_prompt_has_left(client: httpx2.AsyncClient) -> None:
    reader, writer = await open_connection(client)
    body = {"input": LONG, "stream": True, "params": {"words": 2_000, "delay_ms": 20}}
    writer.write(post("/v1/streams", body))
    head = await reader.readuntil(b"\r\n\r\n")
    stream_id = head.lower().partition(b"stream-id: ")[2].split(b"\r\n")[0].decode()
    await reader.readuntil(b"id: 2\n")
    writer.write_eof()
    await until_no_tails(client, stream_id)
    await client.post(f"/v1/streams/{stream_id}/cancel")
    writer.close()
