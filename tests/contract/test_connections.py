"""Connections are bounded, in number and in what they hold without a request. PROTOCOL: Read/Connections."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
import pytest
from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from midstream.http.fast_path import addresses, connections
from midstream.http.fast_path.addresses import Addresses
from midstream.http.fast_path.wire_protocol import WireProtocol
from midstream.http.fast_path.ws_protocol import WsProtocol
from midstream.settings import Settings
from tests.contract.strangers import (
    ASK,
    HALF_HEAD,
    KEY,
    LAST,
    OURS,
    SOON_S,
    counted,
    hasty,
    is_served,
    opening,
    until_closed,
)

PATIENCE_S = 0.1


@pytest.fixture
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(connections, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(connections, "HASTE_S", PATIENCE_S)
    return hasty(settings)


async def test_beyond_the_limit_a_client_is_refused_and_later_served(quick: Settings) -> None:
    async with opening(quick, max_connections=5, head_timeout_ms=1_000) as (_, opened), counted("too_many_connections"):
        holders = [await opened(HALF_HEAD) for _ in range(5)]
        answer = await until_closed((await opened(ASK))[0])
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer
        assert b'"code":"too_many_connections"' in answer
        assert [(await until_closed(reader))[:12] for reader, _ in holders[1:]] == [b"HTTP/1.1 408"] * 4
        assert await is_served(opened)


async def test_a_refusal_is_logged_once_in_a_while(quick: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async with opening(quick, max_connections=2) as (_, opened):
        _ = [await opened(HALF_HEAD) for _ in range(2)]
        for _ in range(5):
            assert b" 503 " in await until_closed((await opened(ASK))[0])
    assert caplog.text.count("a connection was refused (too_many_connections)") == 1


async def test_where_room_is_needed_idle_connections_are_closed_first(quick: Settings) -> None:
    async with opening(quick, max_connections=4, head_timeout_ms=10_000) as (_, opened):
        silent = await opened()
        idle = [await opened(ASK) for _ in range(3)]
        for reader, _ in idle:
            await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(2 * PATIENCE_S)
        began_s = time.monotonic()
        assert await is_served(opened)
        await until_closed(idle[0][0])
        assert time.monotonic() - began_s < 2  # and not as an idle connection is closed in any case
        for reader, writer in (*idle[1:], silent):
            writer.write(LAST)
            assert b"200 OK" in await until_closed(reader)


async def test_where_nothing_is_idle_the_oldest_stranger_makes_room(quick: Settings) -> None:
    async with opening(quick, max_connections=4, head_timeout_ms=10_000) as (_, opened), counted("too_many_strangers"):
        strangers = [await opened(sent) for sent in (HALF_HEAD, b"", HALF_HEAD, b"")]
        await asyncio.sleep(2 * PATIENCE_S)
        assert await is_served(opened)
        assert await until_closed(strangers[0][0]) == b""
        reader, writer = strangers[3]
        writer.write(LAST)
        assert b"200 OK" in await until_closed(reader)


@pytest.mark.leaves(why="no worker takes the job", keys=["ms:queue"])
async def test_an_answer_in_progress_makes_room_for_nobody(quick: Settings) -> None:
    async with opening(quick, max_connections=3) as (client, opened):
        stream_id = await begun(client)
        tails = [await opened(tail_of(stream_id)) for _ in range(2)]
        for reader, _ in tails:
            await reader.readuntil(b"\r\n\r\n")
        await client.aclose()
        await opened(HALF_HEAD)
        await asyncio.sleep(2 * PATIENCE_S)
        stop = f"POST /v1/streams/{stream_id}/cancel HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n"
        stopping = await opened(stop.encode())
        assert b" 202 " in await stopping[0].readuntil(b"\r\n\r\n")
        for reader, _ in tails:
            async with asyncio.timeout(SOON_S):
                assert b"event: end" in await reader.readuntil(b"0\r\n\r\n")


async def begun(client: httpx2.AsyncClient) -> str:
    ask = {"model": "demo/count", "input": "x"}
    stream_id: str = (await client.post("/v1/streams", json=ask, headers=OURS)).json()["id"]
    return stream_id


def tail_of(stream_id: str) -> bytes:
    head = f"GET /v1/streams/{stream_id}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    return head.encode()


async def test_strangers_beyond_their_number_are_closed_oldest_first(quick: Settings) -> None:
    async with opening(quick, max_strangers=5, head_timeout_ms=2_000) as (_, opened), counted("too_many_strangers"):
        strangers = [await opened(HALF_HEAD) for _ in range(12)]
        began_s = time.monotonic()
        for reader, _ in strangers[:7]:
            assert await until_closed(reader) == b""
        assert time.monotonic() - began_s < 1.5
        for reader, _ in strangers[7:]:
            assert b" 408 " in await until_closed(reader)


@asynccontextmanager
async def sockets(client: httpx2.AsyncClient, number: int, **options: object) -> AsyncIterator[list[ClientConnection]]:
    url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/ws"
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connect(url, **options)) for _ in range(number)]  # type: ignore[arg-type]


async def test_sockets_without_a_key_are_strangers_and_others_are_not(quick: Settings) -> None:
    """A quarter of the strangers may have a socket."""
    async with (
        opening(quick, max_strangers=12) as (client, _),
        sockets(client, 5, additional_headers=OURS) as friends,
        sockets(client, 3) as silent,
    ):
        async with counted("too_many_strangers"):
            with pytest.raises(InvalidStatus, match="503"):
                await asyncio.wait_for(sockets(client, 1).__aenter__(), SOON_S)
        await asyncio.sleep(2 * PATIENCE_S)
        async with sockets(client, 1) as late:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(silent[0].recv(), SOON_S)
            for each in (late[0], silent[2]):
                await each.send(json.dumps({"type": "auth", "key": KEY}))
            for each in (*friends, late[0], silent[2]):
                assert '"ready"' in str(await asyncio.wait_for(each.recv(), SOON_S))
                await each.send('{"type": "ping"}')
                assert '"pong"' in str(await asyncio.wait_for(each.recv(), SOON_S))


def connections_in_memory() -> list[object]:
    return [thing for thing in gc.get_objects() if issubclass(type(thing), (WsProtocol, WireProtocol))]


@pytest.mark.parametrize("key", [KEY, "another"])
async def test_sockets_are_freed_without_the_collector(quick: Settings, key: str) -> None:
    """Else a flood of them takes hundreds of MiB until it runs."""
    async with opening(quick) as (client, _):
        gc.collect()
        gc.disable()
        earlier = connections_in_memory()  # held, so that no later one gets the identity of one of them
        identities = set(map(id, earlier))
        try:
            for authorization in ({"Authorization": f"Bearer {key}"}, {}):
                async with sockets(client, 1, additional_headers=authorization) as (socket,):
                    if not authorization:
                        await socket.send(json.dumps({"type": "auth", "key": key}))
                    await asyncio.wait_for(socket.recv(), SOON_S)
            async with asyncio.timeout(SOON_S):
                while any(id(each) not in identities for each in connections_in_memory()):
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


async def test_an_address_has_a_share_of_the_connections(quick: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_counted_as", lambda host, _: None if host == "127.0.0.1" else host)
    roomy = {"max_connections": 100, "max_address_connections": 3, "head_timeout_ms": 10_000}  # no head is late here
    async with opening(quick, **roomy) as (_, opened):
        async with counted("too_many_of_address"):
            mine = [await opened(HALF_HEAD, local_addr=("127.0.0.2", 0)) for _ in range(3)]
            answer = await until_closed((await opened(ASK, local_addr=("127.0.0.2", 0)))[0])
            assert b" 503 " in answer
            assert b'"code":"too_many_of_address"' in answer
        for host in ("127.0.0.3", "127.0.0.1"):
            reader, _ = await opened(LAST, local_addr=(host, 0))
            assert b" 200 " in await until_closed(reader)
        mine[0][1].write(b"Connection: close\r\n\r\n")
        assert b" 200 " in await until_closed(mine[0][0])
        reader, _ = await opened(LAST, local_addr=("127.0.0.2", 0))
        assert b" 200 " in await until_closed(reader)


def test_addresses_of_a_network_count_together_and_those_of_proxies_do_not() -> None:
    counts = Addresses("10.0.0.5, 10.1.0.0/16,2001:db8:1::/48")
    for free in ("127.0.0.1", "::1", "127.8.9.10", "10.0.0.5", "10.1.2.3", "2001:db8:1::7", "::ffff:10.0.0.5", "?"):
        assert [counts.opened((free, 1)) for _ in range(2)] == [0, 0]
        counts.closed((free, 1))
    assert counts.opened(None) == 0
    alike = ("192.0.2.1", "::ffff:192.0.2.1")
    assert [counts.opened((host, 1)) for host in alike] == [1, 2]
    assert counts.opened(("192.0.2.2", 1)) == 1
    assert [counts.opened((host, 1)) for host in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1")] == [1, 2, 1]
    for host in (*alike, "192.0.2.2", "2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"):
        counts.closed((host, 1))
    assert counts._counts == {}


@pytest.mark.parametrize("listed", ["proxy.example", "10.0.0.1/8", "10.0.0.5;10.0.0.6"])
def test_a_proxy_that_is_no_address_is_refused(listed: str) -> None:
    with pytest.raises(ValidationError, match="list addresses and networks"):
        Settings(trusted_proxies=listed)
