"""Connections that a tail has taken over (PROTOCOL: Read/Next); what both ways of sending share is in test_front.py."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest

from midstream.settings import Settings
from tests import inside
from tests.contract.raw_connections import COUNT, RESET_ON_CLOSE, begun, open_connection, tail_request, until_no_tails

pytestmark = pytest.mark.both_ways


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    quick = settings.model_copy(update={"send_timeout_ms": 500})
    async with inside.worker(quick), inside.broker(quick) as client:
        yield client


async def test_requests_on_one_connection_are_answered_in_turn(client: httpx2.AsyncClient) -> None:
    stream_id = await begun(client, COUNT)
    reader, writer = await open_connection(client)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n" + tail_request(stream_id) * 2)  # pipelined
    await reader.readuntil(b"id: 2\n")
    writer.write(tail_request(stream_id))  # in the middle of an answer
    await asyncio.sleep(0.05)
    writer.write(tail_request(stream_id, "Connection: close\r\n"))
    answers = (await reader.read()).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(answers) == 3  # and the rest of the one whose beginning was read
    assert all(answer.count(b"event: end") == 1 and answer.endswith(b"0\r\n\r\n") for answer in answers)
    assert [b"connection: close" in answer.lower() for answer in answers] == [False, False, True]
    writer.close()


async def test_a_request_whose_beginning_came_with_the_one_before_is_answered(client: httpx2.AsyncClient) -> None:
    stream_id = await begun(client, COUNT)
    reader, writer = await open_connection(client)
    last = tail_request(stream_id, "Connection: close\r\n")
    writer.write(tail_request(stream_id) + last[:20])
    await reader.readuntil(b"id: 2\n")
    writer.write(last[20:])
    assert (await reader.read()).count(b"event: end") == 2
    writer.close()


@pytest.mark.wire_only
async def test_a_client_that_sends_on_and_on_before_it_is_answered_is_cut(client: httpx2.AsyncClient) -> None:
    stream_id = await begun(client, {**COUNT, "params": {"words": 2_000, "delay_ms": 20}})
    reader, writer = await open_connection(client)
    writer.write(tail_request(stream_id))
    await reader.readuntil(b"id: 2\n")
    writer.write(tail_request(stream_id) * 1_000)
    with contextlib.suppress(ConnectionError):  # reset, where there was more to read for the server
        assert not (await reader.read()).endswith(b"0\r\n\r\n")
    writer.close()
    await until_no_tails(client, stream_id)
    await client.post(f"/v1/streams/{stream_id}/cancel")


async def test_a_client_that_is_gone_before_its_answer_begins_leaves_no_tail(client: httpx2.AsyncClient) -> None:
    stream_id = await begun(client, {**COUNT, "params": {"words": 2_000, "delay_ms": 20}})
    for _ in range(20):
        _, writer = await open_connection(client)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.write(tail_request(stream_id))
        await asyncio.sleep(0)  # let it be written; the reset is right after it
        writer.transport.abort()
    await until_no_tails(client, stream_id)
    await client.post(f"/v1/streams/{stream_id}/cancel")


async def test_a_client_of_http_1_0_is_sent_no_chunks_and_a_closed_connection(client: httpx2.AsyncClient) -> None:
    """Read/Bare."""
    stream_id = await begun(client, COUNT)
    reader, writer = await open_connection(client)
    writer.write(tail_request(stream_id).replace(b"HTTP/1.1", b"HTTP/1.0"))
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body == (await client.get(f"/v1/streams/{stream_id}/events")).content
    writer.close()


async def test_a_head_request_for_a_tail_is_told_what_is_allowed(client: httpx2.AsyncClient) -> None:
    """Read/Bare."""
    stream_id = await begun(client, COUNT)
    answer = await client.head(f"/v1/streams/{stream_id}/events")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "GET", b"")
    assert (await client.get("/healthz")).status_code == 200
