"""Connections that a tail has taken over (PROTOCOL: Read/Last); what both ways of sending share is in test_front.py."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping

import httpx2
import pytest

from broker.settings import Settings
from tests import inside

COUNT = {"model": "demo/count", "input": "x", "params": {"words": 10, "delay_ms": 20}}
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    quick = settings.model_copy(update={"send_timeout_ms": 500})
    async with inside.worker(quick), inside.broker(quick) as client:
        yield client


async def begun(client: httpx2.AsyncClient, body: Mapping[str, object]) -> str:
    stream_id: str = (await client.post("/v1/streams", json=body)).json()["id"]
    return stream_id


def request(stream_id: str) -> bytes:
    return f"GET /v1/streams/{stream_id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def connected(client: httpx2.AsyncClient, **options: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(client.base_url.host, client.base_url.port, **options)


async def no_tails(client: httpx2.AsyncClient, stream_id: str) -> None:
    async with asyncio.timeout(5):
        while (await client.get(f"/v1/streams/{stream_id}")).json()["tails"]:
            await asyncio.sleep(0.01)


async def test_a_streamed_response_is_its_connections_last(client: httpx2.AsyncClient) -> None:
    stream_id = await begun(client, COUNT)
    reader, writer = await connected(client)
    writer.write(request(stream_id) * 2)  # pipelined
    await reader.readuntil(b"id: 2\n")
    writer.write(request(stream_id))  # and one in the middle of the answer
    rest = await reader.read()
    assert rest.endswith(b"\n\n\r\n0\r\n\r\n")
    assert b"HTTP/1.1" not in rest
    assert rest.count(b"event: end") == 1
    writer.close()


async def test_a_request_on_a_connection_that_has_served_others_is_tailed_too(client: httpx2.AsyncClient) -> None:
    stream_id = await begun(client, COUNT)
    reader, writer = await connected(client)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n" + request(stream_id))
    answers = await reader.read()
    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.endswith(b"0\r\n\r\n")
    writer.close()


async def test_a_client_that_is_gone_before_its_answer_begins_leaves_no_tail(client: httpx2.AsyncClient) -> None:
    stream_id = await begun(client, {**COUNT, "params": {"words": 2_000, "delay_ms": 20}})
    for _ in range(20):
        _, writer = await connected(client)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.write(request(stream_id))
        await asyncio.sleep(0)  # let it be written; the reset is right behind it
        writer.transport.abort()
    await no_tails(client, stream_id)
    await client.post(f"/v1/streams/{stream_id}/cancel")
