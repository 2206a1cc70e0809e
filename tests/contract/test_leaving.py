"""How a response is left: by clients in every way that they have, and by a server that must not end it untruthfully."""

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator

import httpx2
import orjson
import pytest
import uvloop
from redis.asyncio import Redis

from midstream.http.fast_path.wire_protocol import WireProtocol
from midstream.http.listener import UNSENT_BYTES
from midstream.log.entries import END, Entry, encode
from midstream.log.keys import Keys
from midstream.log.log import Log
from midstream.log.values import Ending, Fence
from midstream.settings import Settings
from tests import inside
from tests.contract.long_answers import LONG, with_long
from tests.contract.raw_connections import (
    RESET_ON_CLOSE,
    open_connection,
    tail_request,
    unread_tail,
    until_no_tails,
)

pytestmark = pytest.mark.both_ways

QUICK = {"send_timeout_ms": 500}
PARTS = [{"type": "text", "text": "x"}]
CHAT = {"id": "chat", "trigger": "submit-message", "messages": [{"id": "u", "role": "user", "parts": PARTS}]}


class Written:
    """A stream that a test writes itself; no worker runs."""

    def __init__(self, log: Log, stream_id: str, fence: Fence, tail: int) -> None:
        self.log, self.id, self.fence, self.tail = log, stream_id, fence, tail

    async def write(self, *contents: bytes) -> None:
        self.tail = await self.log.append(self.id, self.fence, self.tail, contents)

    async def end(self) -> None:
        end = encode(Entry(END, {"outcome": "completed"}))
        self.tail = await self.log.seal(self.id, self.fence, self.tail, Ending([end], "completed"))


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.broker(settings.model_copy(update=QUICK)) as client:
        yield client


@pytest.fixture
async def written(client: httpx2.AsyncClient, redis: Redis) -> AsyncIterator[Written]:
    stream_id = (await client.post("/v1/streams", json={"model": "demo/count", "input": "x"})).json()["id"]
    log = Log(redis, "ms")
    claim = await log.claim(stream_id, "me", 60_000)
    fence, tail = claim.fence, claim.state.tail
    yield Written(log, stream_id, fence, tail)
    await client.delete(f"/v1/streams/{stream_id}")
    await redis.flushall()  # the slip that no worker has taken


async def rest_of(connection: socket.socket) -> bytes:
    """Read to the end of the answer, or of the connection."""
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(5):
        while not received.endswith(b"0\r\n\r\n") and (part := await loop.sock_recv(connection, 65_536)):
            received += part
    connection.close()
    return received


async def lagging_tail(client: httpx2.AsyncClient, written: Written) -> socket.socket:
    """Open a tail that lags by more than its transport takes, and wait until it is."""
    await written.write(*[b"t" + b"x" * 500] * 4_000)
    connection = await unread_tail(client, written.id)
    await asyncio.get_running_loop().sock_recv(connection, 1)
    return connection


@pytest.mark.wire_only
async def test_a_deaf_client_that_has_closed_its_half_is_gone(client: httpx2.AsyncClient, written: Written) -> None:
    """Read/Left."""
    await written.write(*[b"t" + b"x" * 500] * 330)  # more than the kernel takes, less than makes the tail wait
    connection = await unread_tail(client, written.id)
    await asyncio.get_running_loop().sock_recv(connection, 1)
    connection.shutdown(socket.SHUT_WR)
    await until_no_tails(client, written.id)
    assert not (await rest_of(connection)).endswith(b"0\r\n\r\n")


def test_requests_sent_ahead_by_a_client_that_has_left_are_no_errors(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask_and_leave() -> None:
        async with inside.broker(settings) as client:
            logging.getLogger("uvicorn.error").addHandler(caplog.handler)  # it hands nothing up
            loop = asyncio.get_running_loop()
            for ticks in range(200):
                left = socket.socket()
                left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                left.setblocking(False)  # noqa: FBT003
                await loop.sock_connect(left, (client.base_url.host, client.base_url.port))
                await loop.sock_sendall(
                    left, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2 + tail_request("none") * 2
                )
                for _ in range(ticks % 10):
                    await asyncio.sleep(0)
                left.close()

    uvloop.run(ask_and_leave())  # it raises where asyncio's loop drops what is written
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_nobody_has_seen_an_end_who_had_left_before_it(settings: Settings) -> None:
    async with inside.worker(settings), inside.broker(settings) as client:
        _, writer = await open_connection(client)
        body = orjson.dumps(CHAT)
        head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        async with asyncio.timeout(5):
            while not (rows := (await client.get("/v1/streams")).json()["data"]):
                await asyncio.sleep(0.001)
        writer.transport.abort()
        await client.get(f"/v1/streams/{rows[0]['id']}", params={"wait": 5})
        for _ in range(5):  # who has left before the answer is begun
            _, writer = await open_connection(client)
            writer.write(b"GET /api/chat/chat/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.sleep(0)
            writer.transport.abort()
            await until_no_tails(client, rows[0]["id"])
        answer = await client.get("/api/chat/chat/stream")
        assert answer.status_code == 200
        assert b"[DONE]" in answer.content


@pytest.mark.wire_only
async def test_connections_are_freed_without_the_collector(client: httpx2.AsyncClient, written: Written) -> None:
    await written.write(b"tx")
    await written.end()
    gc.collect()
    gc.disable()
    try:
        before = {id(thing): thing for thing in gc.get_objects() if isinstance(thing, WireProtocol)}
        for request in (
            tail_request(written.id, "Connection: close\r\n"),
            b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        ):
            reader, writer = await open_connection(client)
            writer.write(request)
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            # Not a count: the client's idle connection ends after five seconds, and would stand for one of these.
            while any(isinstance(thing, WireProtocol) and id(thing) not in before for thing in gc.get_objects()):
                await asyncio.sleep(0.1)  # each look walks all that the process holds
    finally:
        gc.enable()


async def test_a_tail_that_fails_is_cut(client: httpx2.AsyncClient, written: Written, redis: Redis) -> None:
    """Read/Truthful."""
    reader, writer = await open_connection(client)
    writer.write(tail_request(written.id))
    await reader.readuntil(b"id: 1\n")
    await redis.publish(Keys("ms").channel(written.id), b"%d-1\xffe{no JSON" % (written.tail + 1))
    async with asyncio.timeout(5):
        assert not (await reader.read()).endswith(b"0\r\n\r\n")
    writer.close()


async def test_a_lagging_tail_learns_of_a_deletion(client: httpx2.AsyncClient, written: Written) -> None:
    """Read/Truthful."""
    connection = await lagging_tail(client, written)
    await written.end()
    await client.delete(f"/v1/streams/{written.id}")
    assert (await client.get(f"/v1/streams/{written.id}/events")).status_code == 404
    assert b'"reason":"deleted"' in (await rest_of(connection))[-200:]


async def test_an_ended_stream_is_gone_when_it_is_deleted(client: httpx2.AsyncClient, written: Written) -> None:
    await written.end()
    assert (await client.get(f"/v1/streams/{written.id}/events?after={written.tail}")).status_code == 204
    await client.delete(f"/v1/streams/{written.id}")
    async with asyncio.timeout(0.5):  # long before a follower that nobody has joined is let go
        while (await client.get(f"/v1/streams/{written.id}/events?after={written.tail}")).status_code != 404:
            await asyncio.sleep(0.01)


@pytest.mark.wire_only
async def test_a_stop_waits_for_no_deaf_client(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    long = with_long(settings)
    async with inside.worker(long):
        async with inside.broker(long) as client:
            logging.getLogger("uvicorn.error").addHandler(caplog.handler)  # it hands nothing up
            stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
            await client.get(f"/v1/streams/{stream_id}", params={"wait": 10})
            connection = await unread_tail(client, stream_id)
            await asyncio.get_running_loop().sock_recv(connection, 1)
        connection.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.wire_only
async def test_a_client_that_does_not_take_the_end_is_cut_too(
    client: httpx2.AsyncClient, written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    """Read/Left."""
    await written.write(*[b"t" + b"x" * 500] * 300)
    await written.end()
    whole = len((await client.get(f"/v1/streams/{written.id}/events")).content)
    # More than the kernel takes for a client that reads nothing, less than makes the tail wait.
    assert UNSENT_BYTES + 10_000 < whole < UNSENT_BYTES + 60_000
    connection = await unread_tail(client, written.id)
    with caplog.at_level(logging.INFO):
        async with asyncio.timeout(5):
            while "was cut" not in caplog.text:
                await asyncio.sleep(0.01)
    assert not (await rest_of(connection)).endswith(b"0\r\n\r\n")


@pytest.mark.wire_only
async def test_a_client_that_reads_slowly_is_not_cut(settings: Settings) -> None:
    """Read/Left."""
    quick = with_long(settings, send_timeout_ms=1_000)
    async with inside.worker(quick), inside.broker(quick) as client:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        await client.get(f"/v1/streams/{stream_id}", params={"wait": 10})
        connection = await unread_tail(client, stream_id)
        loop = asyncio.get_running_loop()
        received = bytearray()
        while not received.endswith(b"0\r\n\r\n"):
            part = await loop.sock_recv(connection, 8_192)
            assert part, f"cut after {len(received)} bytes"
            received += part
            await asyncio.sleep(0.025)  # 64 KiB in a fifth of the time-out, the whole in more than two
        connection.close()
