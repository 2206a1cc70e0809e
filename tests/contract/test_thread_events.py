"""One tail over all streams of a thread (PROTOCOL: Threads/Events)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import groupby

import httpx2
import pytest

from midstream import Midstream
from midstream.http.app import create_app
from midstream.hub.tail import Tail as StreamTail
from midstream.settings import Settings
from tests import inside
from tests.contract.access_calls import ADMIN, bearer, read_token, served, started
from tests.contract.thread_tails import APPS, PATH, Event, Tail, event_of, followed, recorded, replay
from tests.contract.ws_talk import dial


@pytest.fixture(params=["auto", "off"])
async def client(settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(settings, fast_path=request.param, heartbeat_ms=100, apps=APPS) as client:
        yield client


def concatenated(events: list[Event]) -> list[str | Event]:
    """Return what a client has of these events: each run of deltas of one part as one."""
    parts: list[str | Event] = []
    for part, run in groupby(events, part_of):
        several = list(run)
        piece = PIECES.get(several[0][1])
        parts += [part + "".join(data[piece] for _, _, data in several)] if piece else several
    return parts


PIECES = {"text": "text", "reasoning": "text", "tool_input": "delta"}
"""Entries that stand for several in merged entries, and where they have their text."""


def part_of(event: Event) -> str:
    """Return what the pieces of a part have in common: stream, type, and the id of a call; else the event's id."""
    event_id, kind, data = event
    return f"{event_id.partition('.')[0]} {kind} {data.get('id', '')}: " if kind in PIECES else event_id


async def test_from_each_event_on_the_rest_follows_exactly(client: httpx2.AsyncClient) -> None:
    """Threads/Events, Read/Coalesced, I1, I2, I5: plain, and with merged entries."""
    ids = await recorded(client)
    canonical = await replay(client)
    expected = []
    for stream_id in ids:
        entries = (await client.get(f"/v1/streams/{stream_id}/entries", headers=ADMIN)).json()["data"]
        expected += [f"{stream_id}.{offset}" for offset in (0, *(row["offset"] for row in entries), "end")]
    assert [event[0] for event in canonical] == expected
    for k, (event_id, _, _) in enumerate(canonical, 1):
        assert canonical[:k] + await replay(client, event_id) == canonical, event_id
    merged = await replay(client, catchup="coalesced")
    assert len(merged) < len(canonical)
    places = {event_id: k for k, (event_id, _, _) in enumerate(canonical, 1)}
    for k, (event_id, _, _) in enumerate(merged, 1):
        assert canonical[: places[event_id]] + await replay(client, event_id) == canonical, event_id
        assert concatenated(merged[:k] + await replay(client, event_id, catchup="coalesced")) == concatenated(canonical)
    markers = [data for _, kind, data in canonical if kind.startswith("stream_")]
    assert markers[2]["messages"] == [{"role": "user", "content": "turn 1"}]
    assert markers[3] == {"type": "stream_ended", "stream_id": ids[1], "outcome": "completed"}
    ahead = await replay(client, f"{ids[2]}.99")
    assert (ahead[0][1], ahead[1][0]) == ("reset", f"{ids[2]}.1")
    lost = await replay(client, f"{'0' * 32}.3")
    assert lost[0] == ("0", "reset", {"type": "reset", "reason": "cursor_unknown"})
    assert lost[1:] == canonical
    for bad in ("x", f"{ids[0]}.x", f"{ids[0]}", "-1"):
        assert (await client.get(PATH, params={"after": bad}, headers=ADMIN)).json()["code"] == "bad_cursor"


async def test_from_each_event_on_the_rest_follows_on_a_socket_and_in_python(settings: Settings) -> None:
    """Ws/Threads, Read/Coalesced, I1, I2, I5: the same entries with the same cursors as by `GET …/events`."""
    async with served(settings, apps=APPS) as client, dial(client, additional_headers=ADMIN) as talk:
        await recorded(client)
        sent = {catchup: await replay(client, catchup=catchup) for catchup in ("plain", "coalesced")}
        for catchup, canonical in sent.items():
            for k, (cursor, _, _) in enumerate([("", "", {}), *canonical[:-1]]):
                await talk.say(type="tail_thread", thread="t", after=cursor, catchup=catchup)
                objects: list[dict[str, object]] = []
                while not objects or objects[-1]["cursor"] != canonical[-1][0]:
                    objects += (await talk.hear("entries"))["entries"]
                assert objects == [{"cursor": each, **data} for each, _, data in canonical[k:]], cursor
        async with Midstream(str(client.base_url), api_key="admin") as midstream:
            for k, (cursor, _, _) in enumerate(sent["plain"][:-1], 1):
                async with aclosing(midstream.tail_thread("t", cursor)) as entries:
                    rest = [await anext(entries) for _ in sent["plain"][k:]]
                came = [(each.cursor, each.type, {"type": each.type, **each.data}) for each in rest]
                assert came == sent["plain"][k:], cursor


async def test_what_is_started_by_anybody_appears(client: httpx2.AsyncClient) -> None:
    """Threads/Events, Read/Heartbeat, Access/Read tokens."""
    first = await started(client, ADMIN, thread="t")
    token = bearer(await read_token(client, thread="t"))
    async with followed(client, headers=token) as response, followed(client, f"{first}.end") as late:
        tails = [Tail(response), Tail(late)]
        seen = [await tails[0].until("stream_ended"), []]
        assert event_of(await tails[1].frame()) is None, "what there is was read"
        for number in range(2):
            body = {"model": "demo/count", "input": "x", "params": {"words": 20, "delay_ms": 5}, "thread": "t"}
            second = (await client.post("/v1/streams", json=body, headers=ADMIN)).json()["id"]
            for at, tail in enumerate(tails):
                seen[at] += await tail.until("stream_ended")
                assert seen[at][-1][0] == f"{second}.end", number
                assert await tail.frame() == ":", "a heartbeat while there is nothing"
    canonical = await replay(client)
    assert seen[0] == canonical
    assert seen[1] == canonical[-len(seen[1]) :]


async def test_a_stream_that_is_deleted_ends_and_the_thread_goes_on(client: httpx2.AsyncClient) -> None:
    """Threads/Events, Delete/Tombstone."""
    body = {"model": "demo/count", "input": "x", "params": {"words": 900, "delay_ms": 50}, "thread": "t"}
    gone = (await client.post("/v1/streams", json=body, headers=ADMIN)).json()["id"]
    async with followed(client) as response:
        tail = Tail(response)
        await tail.until("text")
        assert (await client.delete(f"/v1/streams/{gone}", headers=ADMIN)).status_code == 204
        last = (await tail.until("stream_ended"))[-1]
        assert last[0] == f"{gone}.end"
        second = await started(client, ADMIN, thread="t")
        assert (await tail.until("stream_ended"))[0][0] == f"{second}.0"


async def test_a_tail_of_a_thread_is_one_tail_of_its_tenant(settings: Settings) -> None:
    """Threads/Events, Limits/Tails: while it waits, and while it reads; and it leaves nothing (I8)."""
    async with served(settings, tenant_tails=1, heartbeat_ms=100) as client:
        first = await started(client, ADMIN, thread="t")
        for _ in range(2):
            async with followed(client) as response:
                tail = Tail(response)
                for _ in range(2):
                    await tail.until("stream_ended")
                    refused = await client.get(PATH, headers=ADMIN)
                    assert (refused.status_code, refused.json()["limit"]) == (429, "tails")
                    other = await client.get(f"/v1/streams/{first}/events", headers=ADMIN)
                    assert other.status_code == 429
                    body = {"model": "demo/count", "input": "x", "params": {"words": 20, "delay_ms": 5}, "thread": "t"}
                    await client.post("/v1/streams", json=body, headers=ADMIN)
            async with asyncio.timeout(5):
                while (await client.get(f"/v1/streams/{first}/events", headers=ADMIN)).status_code != 200:
                    await asyncio.sleep(0.01)


async def test_a_wait_ends_with_its_credential_and_its_broker(settings: Settings) -> None:
    """Threads/Events, Access/Ending, Read/Truthful."""
    async with served(settings) as client:
        await started(client, ADMIN, thread="t")
        short = bearer(await read_token(client, thread="t", ttl_s=1))
        async with followed(client, headers=short) as response:
            events = await Tail(response).until("parting")
            assert events[-1] == ("", "parting", {"type": "parting", "reason": "token_expired"})
        assert (await client.get(PATH, headers=short)).json()["code"] == "token_expired"
        another = bearer(await read_token(client, thread="another"))
        assert (await client.get(PATH, headers=another)).json()["code"] == "thread_not_found"
    app = create_app(settings)
    async with inside.worker(settings), inside.served(settings, app) as client:
        await started(client, {}, thread="t")
        async with followed(client, headers={}) as response:
            tail = Tail(response)
            await tail.until("stream_ended")
            await app.services.part(5.0)
            assert (await tail.frame()).startswith("retry: ")
            with pytest.raises(StopAsyncIteration):
                await tail.frame()


async def test_a_stream_has_not_ended_because_its_tail_was_told_to_come_back(settings: Settings) -> None:
    """Threads/Events, Read/Truthful: a drain reaches the tail of the stream before the reader of the thread."""
    app = create_app(settings)
    async with inside.worker(settings), inside.served(settings, app) as client:
        body = {"model": "demo/count", "input": "x", "params": {"words": 900, "delay_ms": 50}, "thread": "t"}
        stream_id = (await client.post("/v1/streams", json=body)).json()["id"]
        async with followed(client, headers={}) as response:
            tail = Tail(response)
            await tail.until("text")
            for one in app.services._resources.hub.tails_and_waits():
                if isinstance(one, StreamTail):
                    one.part(500)
            with pytest.raises(StopAsyncIteration):
                await tail.until("stream_ended")
        assert (await client.delete(f"/v1/streams/{stream_id}")).status_code == 204
