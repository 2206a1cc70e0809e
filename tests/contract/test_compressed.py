"""Event streams that are compressed for clients that accept it. PROTOCOL: Read/Compressed."""

import asyncio
import base64
import gzip
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx2
import pytest

import midstream
from midstream import counters
from midstream.http.app import create_app
from midstream.settings import Settings
from tests import inside, sse
from tests.contract.new_streams import ended_stream
from tests.contract.raw_connections import (
    COUNT,
    begun,
    next_answer,
    open_connection,
    tail_request,
    unread_tail,
    until_no_tails,
)

pytestmark = pytest.mark.both_ways

GZIP = {"Accept-Encoding": "gzip"}
PLAIN = {"Accept-Encoding": "identity"}
PAIRS = 300
NOISE = {"model": "app/noise", "input": "x"}


async def noise(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncGenerator[str]:
    """Yield 1.5 MB that compression leaves large, slowly enough that tails follow what is written."""
    dice = random.Random(1)  # noqa: S311
    for _ in range(1_500):
        await asyncio.sleep(0.001)
        yield base64.b85encode(dice.randbytes(800)).decode()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    apps = {"noise": f"{__name__}:noise"}
    changes = {"gzip": True, "apps": apps, "heartbeat_ms": 200}
    return settings.model_copy(update=changes)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield client


def compressions() -> int:
    return counters.counts()["compressions",]


async def long_stream(client: httpx2.AsyncClient) -> str:
    """Write a stream whose entries no batch joins, and return its id."""
    async with midstream.produce(str(client.base_url)) as out:
        for number in range(PAIRS):
            await out.text(f"{number} words ")
            await out.data("number", value=number)
        out.finish("stop")
    return out.id


async def until_tails(client: httpx2.AsyncClient, stream_id: str) -> None:
    async with asyncio.timeout(5):
        while not (await client.get(f"/v1/streams/{stream_id}")).json()["tails"]:
            await asyncio.sleep(0.01)


async def raw_body(client: httpx2.AsyncClient, method: str, path: str, **request: Any) -> bytes:
    """Return a compressed answer's body as it came."""
    async with client.stream(method, path, headers=GZIP, **request) as answer:
        assert answer.status_code == (201 if path == "/v1/streams" else 200), (path, await answer.aread())
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["content-type"].startswith("text/event-stream")
        return b"".join([part async for part in answer.aiter_raw()])


async def test_an_entry_can_be_read_before_the_next_is_written(client: httpx2.AsyncClient) -> None:
    async with midstream.produce(str(client.base_url)) as out:
        async with client.stream("GET", f"/v1/streams/{out.id}/events", headers=GZIP) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            events = sse.parse(answer)
            async with asyncio.timeout(10):
                assert (await anext(events)).type == "start"
                for word in ("a", "long " * 50, "b", "longer " * 2_000):
                    await out.text(word)
                    assert (await anext(events)).data["text"] == word
                out.finish("stop")
        await out.text("the tail has left")


async def test_what_is_decompressed_is_what_others_are_sent(client: httpx2.AsyncClient) -> None:
    """I5, Read/After, Read/Ahead, Read/Coalesced."""
    path = f"/v1/streams/{await long_stream(client)}/events"
    entries = (await client.get(path, headers=PLAIN)).content.count(b"\nevent: ")
    assert entries > 2 * 256
    for k in (0, 1, 2, 100, 255, 256, 257, 511, 512, 513, entries - 2, entries - 1, 9_999):
        for query in ({}, {"catchup": "coalesced"}, {"follow": "false"}):
            plain = await client.get(path, params=query, headers=PLAIN | {"Last-Event-ID": str(k)})
            assert "content-encoding" not in plain.headers
            assert plain.headers["vary"] == "Accept-Encoding"
            resumed = await raw_body(client, "GET", path, params={**query, "after": k})
            assert gzip.decompress(resumed) == plain.content
            if k < 256:
                assert len(resumed) < len(plain.content) / (1 if query.get("catchup") else 3)
        decoded = await client.get(path, headers=GZIP | {"Last-Event-ID": str(k)})
        assert decoded.content == (await client.get(path, headers=PLAIN | {"Last-Event-ID": str(k)})).content
    ended = await client.get(path, headers=GZIP | {"Last-Event-ID": str(entries)})
    assert (ended.status_code, "content-encoding" in ended.headers) == (204, False)


@pytest.mark.parametrize("accepted", [None, "", "identity", "gzip;q=0", "gzip;q=0.2, identity;q=0.9", "br", "*"])
async def test_who_does_not_accept_it_is_sent_plain_bytes(client: httpx2.AsyncClient, accepted: str | None) -> None:
    stream_id = await ended_stream(client, 30)
    head = "" if accepted is None else f"Accept-Encoding: {accepted}\r\n"
    reader, writer = await open_connection(client)
    writer.write(tail_request(stream_id, head))
    answer, body = await next_answer(reader)
    assert b"content-encoding" not in answer.lower()
    assert b"vary: accept-encoding" in answer.lower()
    assert body == (await client.get(f"/v1/streams/{stream_id}/events", headers=PLAIN)).content
    writer.close()


async def test_a_client_of_http_1_0_is_sent_plain_bytes(client: httpx2.AsyncClient) -> None:
    stream_id = await ended_stream(client, 30)
    reader, writer = await open_connection(client)
    writer.write(tail_request(stream_id, "Accept-Encoding: gzip\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"))
    _, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert body == (await client.get(f"/v1/streams/{stream_id}/events", headers=PLAIN)).content
    writer.close()


async def test_without_the_setting_the_header_is_ignored(settings: Settings) -> None:
    off = settings.model_copy(update={"gzip": False})
    async with inside.worker(off), inside.broker(off) as client:
        stream_id = await ended_stream(client, 30)
        answer = await client.get(f"/v1/streams/{stream_id}/events", headers=GZIP)
        assert {"content-encoding", "vary"}.isdisjoint(answer.headers)
        assert answer.text.endswith("\n\n")


async def test_every_door_compresses_its_events_and_nothing_else(client: httpx2.AsyncClient) -> None:
    """Faces/Doors, Chat/Doors, Threads/Events."""
    messages = [{"role": "user", "content": "x"}]
    model = {"model": "demo/count", "params": {"words": 30, "delay_ms": 20}}
    parts = [{"type": "text", "text": "x"}]
    turn = {"id": "c", "trigger": "submit-message", "messages": [{"id": "1", "role": "user", "parts": parts}], **model}
    started: dict[str, tuple[dict[str, Any], bytes]] = {
        "/v1/streams": ({"input": "x", "thread": "t", **model}, b"event: end"),
        "/v1/responses": ({"input": "x", **model}, b"response.completed"),
        "/v1/chat/completions": ({"messages": messages, **model}, b"data: [DONE]"),
        "/v1/messages": ({"messages": messages, "max_tokens": 99, **model}, b"event: message_stop"),
        "/api/chat": (turn, b"data: [DONE]"),
    }
    for path, (body, last) in started.items():
        sent = gzip.decompress(await raw_body(client, "POST", path, json=body | {"stream": True}))
        assert last in sent, path
    response = await client.post("/v1/responses", headers=GZIP, json=started["/v1/responses"][0])
    assert {"content-encoding", "vary"}.isdisjoint(response.headers)
    assert response.json()["status"] == "completed"
    resumed = f"/v1/responses/{response.json()['id']}?stream=true"
    for path in (resumed, "/v1/threads/t/events?follow=false", "/v1/threads/t/events?follow=false&catchup=coalesced"):
        plain = await client.get(path, headers=PLAIN)
        assert gzip.decompress(await raw_body(client, "GET", path)) == plain.content
        assert plain.headers["vary"] == "Accept-Encoding"
    assert (await client.head(resumed, headers=GZIP)).status_code == 405


async def test_a_thread_can_be_read_as_it_grows(client: httpx2.AsyncClient) -> None:
    """Threads/Events."""
    await ended_stream(client, 3, thread="t")
    async with client.stream("GET", "/v1/threads/t/events", headers=GZIP) as answer:
        lines = answer.aiter_lines()
        async with asyncio.timeout(10):
            for _ in range(2):
                await begun(client, COUNT | {"thread": "t"})
                kinds = []
                while "event: stream_ended" not in kinds:
                    kinds.append(await anext(lines))
                assert "event: stream_started" in kinds
                assert "event: end" in kinds


async def test_many_tails_share_one_compression(client: httpx2.AsyncClient) -> None:
    """Read/Together."""
    async with midstream.produce(str(client.base_url)) as out, AsyncExitStack() as stack:
        path = f"/v1/streams/{out.id}/events"
        answers = [await stack.enter_async_context(client.stream("GET", path, headers=GZIP)) for _ in range(20)]
        tails = [sse.parse(answer) for answer in answers]
        for tail in tails:
            assert (await anext(tail)).type == "start"
        for word in ("swift " * 30, "brown " * 30):
            before = compressions()
            await out.text(word)
            assert {(await anext(tail)).data["text"] for tail in tails} == {word}
            assert compressions() == before + 1
        out.finish("stop")


async def test_readers_of_a_long_answer_share_the_compression_of_its_parts(client: httpx2.AsyncClient) -> None:
    path = f"/v1/streams/{await long_stream(client)}/events"
    before = compressions()
    await raw_body(client, "GET", path)
    assert compressions() == before + 3  # two segments, and the rest
    for after in range(1, 9):
        await raw_body(client, "GET", path, params={"after": after})
    assert compressions() <= before + 3 + 8 * 2  # the parts at the ends of each


async def test_a_silent_stream_has_heartbeats_inside(client: httpx2.AsyncClient) -> None:
    """Read/Heartbeat."""
    async with midstream.produce(str(client.base_url)) as out:
        async with client.stream("GET", f"/v1/streams/{out.id}/events", headers=GZIP) as answer:
            lines, beats = answer.aiter_lines(), 0
            async with asyncio.timeout(10):
                while beats < 2:
                    beats += (await anext(lines)).startswith(":")
                await out.text("on it goes")
                while "on it goes" not in await anext(lines):
                    pass
        out.finish("stop")
    await until_no_tails(client, out.id)


async def test_a_slow_client_lags_and_gets_everything(client: httpx2.AsyncClient) -> None:
    """Read/Left, Read/Truthful."""
    stream_id = await begun(client, NOISE)
    connection = await unread_tail(client, stream_id, GZIP)
    fast = await client.get(f"/v1/streams/{stream_id}/events", headers=PLAIN)
    reader, writer = await asyncio.open_connection(sock=connection)
    head, body = await next_answer(reader)
    assert b"content-encoding: gzip" in head.lower()
    lines = [line for line in gzip.decompress(body).split(b"\n") if line.startswith(b"id: ")]
    assert lines == [line for line in fast.content.split(b"\n") if line.startswith(b"id: ")]
    writer.close()


async def test_a_client_that_reads_nothing_is_cut_and_has_no_whole_body(settings: Settings) -> None:
    """Read/Left, Read/Truthful, I8."""
    quick = settings.model_copy(update={"send_timeout_ms": 500})
    async with inside.worker(quick), inside.broker(quick) as client:
        stream_id = await begun(client, NOISE)
        connection = await unread_tail(client, stream_id, GZIP)
        whole = await client.get(f"/v1/streams/{stream_id}/events", headers=GZIP)
        assert "event: end" in whole.text
        await until_no_tails(client, stream_id)
    received, loop = b"", asyncio.get_running_loop()
    with suppress(ConnectionError):
        while part := await loop.sock_recv(connection, 65_536):
            received += part
    assert not received.endswith(b"0\r\n\r\n")
    connection.close()


async def test_a_client_that_leaves_leaves_nothing(client: httpx2.AsyncClient) -> None:
    """Read/Left, I8."""
    stream_id = await begun(client, {**COUNT, "params": {"words": 2_000, "delay_ms": 20}})
    for _ in range(5):
        reader, writer = await open_connection(client)
        writer.write(tail_request(stream_id, "Accept-Encoding: gzip\r\n"))
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(40)
        writer.close()
    await until_no_tails(client, stream_id)
    await client.post(f"/v1/streams/{stream_id}/cancel")


async def test_a_stream_deleted_under_its_tail_ends_the_member(client: httpx2.AsyncClient) -> None:
    """Read/Truthful, Delete/Everything."""
    stream_id = await begun(client, {**COUNT, "params": {"words": 2_000, "delay_ms": 20}})
    async with client.stream("GET", f"/v1/streams/{stream_id}/events", headers=GZIP) as answer:
        parts = answer.aiter_raw()
        body = await anext(parts)
        await client.delete(f"/v1/streams/{stream_id}")
        body += b"".join([part async for part in parts])
    last = gzip.decompress(body).removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    assert b'"reason":"deleted"' in last or b"event: end" in last  # its cancel may have ended it before


async def test_a_broker_that_stops_ends_the_member_with_its_request_to_come_back(settings: Settings) -> None:
    """Drain/Spread, Read/Truthful."""
    async with inside.worker(settings):
        app = create_app(settings)
        async with inside.served(settings, app) as client:
            stream_id = await begun(client, {**COUNT, "params": {"words": 100, "delay_ms": 20}})
            reader, writer = await open_connection(client)
            writer.write(tail_request(stream_id, "Accept-Encoding: gzip\r\n"))
            await until_tails(client, stream_id)
            await app.services.part(5.0)
            _, body = await next_answer(reader)
        last = gzip.decompress(body).removesuffix(b"\n\n").rpartition(b"\n\n")[2]
        assert last.startswith(b"retry: "), last
        writer.close()
        async with inside.broker(settings) as client:
            seen = gzip.decompress(body).count(b"\nevent: ")
            events = await sse.tail(client, stream_id, seen)
            assert (events[0].id, events[-1].type) == (seen + 1, "end")


async def test_two_answers_on_one_connection_are_two_members(client: httpx2.AsyncClient) -> None:
    """Read/Next."""
    stream_id = await begun(client, COUNT)
    reader, writer = await open_connection(client)
    for _ in range(2):
        writer.write(tail_request(stream_id, "Accept-Encoding: gzip\r\n"))
        _, body = await next_answer(reader)
        assert gzip.decompress(body).count(b"event: end") == 1
    writer.close()
