"""The WebSocket door, each row of PROTOCOL's table, with the `websockets` package over a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from midstream.settings import Settings
from tests import inside, sse
from tests import system as processes
from tests.contract.long_answers import LONG as FLOOD
from tests.contract.long_answers import with_long
from tests.contract.ws_talk import START, Talk, dial
from tests.servers import free_port
from tests.system import System

pytestmark = pytest.mark.both_ways

LONG = {**START, "params": {"words": 3_000, "delay_ms": 5}}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield client


@pytest.fixture
async def talk(client: httpx2.AsyncClient) -> AsyncIterator[Talk]:
    async with dial(client) as talk:
        assert (await talk.hear())["type"] == "ready"
        yield talk


async def test_the_same_entries_as_by_sse(client: httpx2.AsyncClient, talk: Talk) -> None:
    """Ws/Messages."""
    await talk.say(type="start", request=START, ref="a")
    started = await talk.hear()
    assert (started["type"], started["ref"], started["created"]) == ("started", "a", True)
    stream_id = started["id"]
    entries = (await talk.entries(stream_id))[stream_id]
    events = await sse.tail(client, stream_id)
    assert entries == [{"offset": event.id, **event.data} for event in events]


async def test_what_is_logged_comes_in_merged_entries_on_request(talk: Talk) -> None:
    """Read/Coalesced, I5: for all k."""
    await talk.say(type="start", request=START)
    stream_id = (await talk.hear("started"))["id"]
    entries = (await talk.entries(stream_id))[stream_id]
    whole = "".join(entry.get("text", "") for entry in entries)
    for after in range(len(entries)):
        await talk.say(type="tail", id=stream_id, after=after, catchup="coalesced")
        merged = (await talk.entries(stream_id))[stream_id]
        before = "".join(entry.get("text", "") for entry in entries[:after])
        assert before + "".join(entry.get("text", "") for entry in merged) == whole
        assert len(merged) <= 4
        assert next(entry.get("first", entry["offset"]) for entry in merged) == after + 1
    await talk.say(type="tail", id=stream_id, catchup="all")
    assert (await talk.hear("error"))["code"] == "bad_message"


async def test_many_streams_on_one_socket_each_in_order(talk: Talk) -> None:
    """Ws/Messages."""
    ids = []
    for number in range(10):
        await talk.say(type="start", request={**START, "input": str(number)}, tail=False, ref=number)
        ids.append((await talk.hear("started"))["id"])
    for stream_id in ids:
        await talk.say(type="tail", id=stream_id)
    read = await talk.entries(*ids)
    for stream_id in ids:
        assert [entry["offset"] for entry in read[stream_id]] == list(range(1, len(read[stream_id]) + 1))
        assert read[stream_id][-1]["type"] == "end"


async def test_every_cut_resumes_after_its_cursor(talk: Talk) -> None:
    """Ws/Messages."""
    await talk.say(type="start", request=START)
    stream_id = (await talk.hear("started"))["id"]
    whole = (await talk.entries(stream_id))[stream_id]
    for after in range(len(whole) + 1):
        await talk.say(type="tail", id=stream_id, after=after, ref=after)
        assert (await talk.hear())["ref"] == after
        assert (await talk.entries(stream_id))[stream_id] == whole[after:]
    await talk.say(type="tail", id=stream_id, after=9_999)
    reset, *rest = (await talk.entries(stream_id))[stream_id]
    assert (reset, rest) == ({"offset": 0, "type": "reset", "reason": "cursor_ahead"}, whole)


async def test_cancel_ends_it_and_leave_and_a_closed_socket_do_not(client: httpx2.AsyncClient, talk: Talk) -> None:
    """Ws/Messages."""
    await talk.say(type="start", request=LONG)
    stream_id = (await talk.hear("started"))["id"]
    await talk.hear("entries")
    await talk.say(type="leave", id=stream_id, ref=1)
    assert await talk.hear("closed") == {"type": "closed", "id": stream_id, "ref": 1}
    async with dial(client) as other:
        await other.say(type="tail", id=stream_id)
        await other.hear("entries")
    await talk.say(type="ping")
    assert (await talk.hear())["type"] == "pong"  # and no more entries before it
    state = (await client.get(f"/v1/streams/{stream_id}")).json()
    assert (state["status"], state["tails"]) == ("running", 0)
    await talk.say(type="tail", id=stream_id)
    await talk.say(type="cancel", id=stream_id)
    # The worker may be quicker than the answer: the end comes before it or after it.
    entries: list[dict[str, Any]] = []
    left = {"cancelling", "closed"}
    while left:
        message = await talk.hear("cancelling", "entries", "closed")
        assert message["id"] == stream_id
        left.discard(message["type"])
        entries += message.get("entries", [])
    assert (entries[-1]["type"], entries[-1]["outcome"]) == ("end", "cancelled")


async def test_a_second_tail_of_a_stream_takes_the_first_ones_place(talk: Talk) -> None:
    """Ws/Messages."""
    await talk.say(type="start", request=LONG)
    stream_id = (await talk.hear("started"))["id"]
    await talk.hear("entries")
    await talk.say(type="tail", id=stream_id, ref="again")
    while (await talk.hear("entries", "tailing"))["type"] != "tailing":
        pass
    assert (await talk.hear("entries"))["entries"][0]["offset"] == 1
    await talk.say(type="cancel", id=stream_id)
    await talk.entries(stream_id)


async def test_deleted_streams_say_so(client: httpx2.AsyncClient, talk: Talk) -> None:
    """Ws/Closed."""
    await talk.say(type="start", request=LONG)
    stream_id = (await talk.hear("started"))["id"]
    await talk.hear("entries")
    assert (await client.delete(f"/v1/streams/{stream_id}")).status_code == 204
    last = (await talk.entries(stream_id))[stream_id][-1]
    assert last["type"] == "end" or last["reason"] == "deleted"


BAD = [
    ("{", "bad_message"),
    ('{"type": "dance"}', "bad_message"),
    ('{"type": "tail"}', "bad_message"),
    ('{"type": "tail", "id": "x", "after": -1}', "bad_message"),
    ('{"type": "tail", "id": "x", "after": "garbage"}', "bad_message"),
    ('{"type": "tail", "id": "\\ud800"}', "bad_message"),
    ('{"type": "start", "request": {}}', "bad_message"),
    ('{"type": "tail", "id": "nobodys", "ref": 3}', "stream_not_found"),
    ('{"type": "cancel", "id": "nobodys"}', "stream_not_found"),
    ('{"type": "start", "request": {"input": "x", "model": "no/such"}}', "unknown_model"),
]


async def test_a_refusal_has_a_code_and_the_socket_goes_on(talk: Talk) -> None:
    """Ws/Errors."""
    for message, code in BAD:
        await talk.socket.send(message)
        error = await talk.hear()
        assert (error["type"], error["code"]) == ("error", code), message
        assert error["message"]
        assert error.get("ref") == json.loads(message if message != "{" else "{}").get("ref")
    await talk.say(type="ping", ref="still")
    assert await talk.hear() == {"type": "pong", "ref": "still"}


async def test_what_cannot_be_repeated_or_read_is_refused_and_the_socket_goes_on(talk: Talk) -> None:
    """Ws/Errors."""
    for odd in (b"\xff\xfe", "null", '{"type": "ping", "ref": 1e30}', f'{{"type": "ping", "ref": {2**64}}}'):
        await talk.socket.send(odd)
        assert (await talk.hear())["code"] == "bad_message", odd
    await talk.socket.send(b'{"type": "ping"}')  # a binary frame of JSON is as good as a text one
    assert await talk.hear() == {"type": "pong"}


async def test_a_thousand_tails_of_one_stream_leave_one(client: httpx2.AsyncClient, talk: Talk) -> None:
    """Read/Count."""
    await talk.say(type="start", request=LONG, tail=False)
    stream_id = (await talk.hear("started"))["id"]
    for number in range(1_000):
        await talk.say(type="tail", id=stream_id, ref=number)
        assert (await talk.hear("tailing"))["ref"] == number
    assert (await client.get(f"/v1/streams/{stream_id}")).json()["tails"] == 1
    await talk.say(type="cancel", id=stream_id)
    assert (await talk.entries(stream_id))[stream_id][-1]["outcome"] == "cancelled"


async def test_a_stopping_broker_says_so_and_another_one_goes_on(redis_url: str, tmp_path: Path) -> None:
    """Ws/Drain; Drain/Spread: a socket with tails is left open until one of them is parted from."""
    async with System(redis_url, tmp_path) as system:
        await system.start()
        other = free_port()
        await system.start_broker(other)
        async with dial(system.http) as talk, dial(system.http) as idle:
            await idle.hear("ready")
            await talk.say(type="start", request={**START, "params": {"words": 60, "delay_ms": 20}})
            stream_id = (await talk.hear("started"))["id"]
            read = (await talk.hear("entries"))["entries"]
            stopping = asyncio.create_task(processes.stop(system.brokers[0]))
            rest: list[dict[str, Any]] = []
            codes = [await talk.until_closed(read, rest), await idle.until_closed([])]
            await stopping
        assert codes == [1012, 1012]
        assert [entry["type"] for entry in rest] == ["parting"]
        async with (
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{other}") as client,
            dial(client) as talk,
        ):
            await talk.say(type="tail", id=stream_id, after=read[-1]["offset"])
            read += (await talk.entries(stream_id))[stream_id]
            assert read == [{"offset": event.id, **event.data} for event in await sse.tail(client, stream_id)]


async def test_limits_are_told(settings: Settings) -> None:
    """Ws/Errors, Ws/Key."""
    tight = settings.model_copy(update={"ws_max_tails": 2, "max_body_bytes": 1_024})
    async with inside.worker(tight), inside.broker(tight) as client, dial(client) as talk:
        await talk.hear("ready")
        ids = []
        for _ in range(2):
            await talk.say(type="start", request=LONG)
            ids.append((await talk.hear("started"))["id"])
        await talk.say(type="start", request=LONG)
        error = await talk.hear("error")
        assert (error["code"], error["limit"]) == ("too_many_tails", 2)
        for stream_id in ids:
            await talk.say(type="cancel", id=stream_id)
        await talk.entries(*ids)
        await talk.say(type="start", request={"input": "x" * 2_000})
        with pytest.raises(ConnectionClosed) as closed:
            await talk.hear("started")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_a_slow_socket_lags_and_still_gets_everything(settings: Settings) -> None:
    """Ws/Slow."""
    long = with_long(settings)
    async with inside.worker(long), inside.broker(long) as client, dial(client, max_queue=1) as talk:
        await talk.hear("ready")
        await talk.say(type="start", request=FLOOD)
        stream_id = (await talk.hear("started"))["id"]
        fast = await sse.tail(client, stream_id)  # meanwhile nothing is read from the socket
        entries = (await talk.entries(stream_id))[stream_id]
    assert [entry["offset"] for entry in entries] == [event.id for event in fast]
    assert "".join(entry.get("text", "") for entry in entries) == sse.text(fast)


async def test_a_socket_that_never_reads_is_cut_and_harms_nobody(settings: Settings) -> None:
    """Ws/Slow."""
    quick = with_long(settings, send_timeout_ms=300)
    async with (
        inside.worker(quick),
        inside.broker(quick) as client,
        dial(client, max_queue=1, ping_interval=None) as talk,
    ):
        await talk.hear("ready")
        await talk.say(type="start", request=FLOOD)
        stream_id = (await talk.hear("started"))["id"]
        talk.socket.transport.pause_reading()
        assert (await sse.tail(client, stream_id))[-1].type == "end"
        async with asyncio.timeout(10):
            while (await client.get(f"/v1/streams/{stream_id}")).json()["tails"]:
                await asyncio.sleep(0.05)
        talk.socket.transport.abort()
