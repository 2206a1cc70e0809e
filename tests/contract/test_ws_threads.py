"""Tails of threads on a WebSocket (PROTOCOL: Ws/Threads)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from midstream.http.app import create_app
from midstream.settings import Settings
from tests import inside
from tests.contract.access_calls import ADMIN, bearer, read_token, served, started
from tests.contract.thread_tails import replay
from tests.contract.ws_talk import Talk, dial

SLOW = {"model": "demo/count", "input": "x", "params": {"words": 900, "delay_ms": 20}, "thread": "t"}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(settings, tenant_tails=3, ws_max_tails=2) as client:
        yield client


async def objects_until(talk: Talk, kind: str) -> list[dict[str, Any]]:
    """Return what is sent of the thread `t` up to the next object of a type."""
    objects: list[dict[str, Any]] = []
    while not objects or objects[-1]["type"] != kind:
        message = await talk.hear("entries")
        assert message["thread"] == "t"
        objects += message["entries"]
    return objects


async def test_it_is_sent_what_the_events_of_the_thread_are(client: httpx2.AsyncClient) -> None:
    """Ws/Threads: what there is, and what is started by anybody; a cursor of one door is one of the other."""
    first = await started(client, ADMIN, thread="t")
    async with dial(client, additional_headers=ADMIN) as talk:
        await talk.hear("ready")
        await talk.say(type="tail_thread", thread="t", ref=1)
        assert await talk.hear() == {"type": "tailing", "thread": "t", "ref": 1}
        objects = await objects_until(talk, "stream_ended")
        second = await started(client, ADMIN, thread="t")
        objects += await objects_until(talk, "stream_ended")
        events = await replay(client)
        assert objects == [{"cursor": cursor, **data} for cursor, _, data in events]
        assert {each["cursor"].partition(".")[0] for each in objects} == {first, second}
        await talk.say(type="tail_thread", thread="t", after=f"{'0' * 32}.3", catchup="coalesced")
        lost, *rest = await objects_until(talk, "stream_ended")
        assert lost == {"cursor": "0", "type": "reset", "reason": "cursor_unknown"}
        merged = await replay(client, catchup="coalesced")
        assert rest == [{"cursor": cursor, **data} for cursor, _, data in merged[: len(rest)]]
        await talk.say(type="leave_thread", thread="t", ref=2)
        assert await talk.hear("closed") == {"type": "closed", "thread": "t", "ref": 2}
        await started(client, ADMIN, thread="t")
        await talk.say(type="ping", ref=3)
        assert (await talk.hear())["ref"] == 3


async def test_it_is_one_tail_of_its_socket_and_of_its_tenant(client: httpx2.AsyncClient) -> None:
    """Ws/Threads, Limits/Tails, I8."""
    stream_id = await started(client, ADMIN, thread="t")
    async with dial(client, additional_headers=ADMIN) as talk, dial(client, additional_headers=ADMIN) as other:
        for _ in range(3):  # each takes the place of the one before
            await talk.say(type="tail_thread", thread="t")
            await objects_until(talk, "stream_ended")
        running = (await client.post("/v1/streams", json=SLOW, headers=ADMIN)).json()["id"]
        await objects_until(talk, "text")
        await talk.say(type="tail", id=running)
        await talk.hear("tailing")
        await talk.say(type="tail_thread", thread="u", ref="x")
        refused = await talk.hear("error")
        assert (refused["code"], refused["thread"], refused["ref"]) == ("too_many_tails", "u", "x")
        await other.say(type="tail_thread", thread="t")
        await objects_until(other, "stream_ended")
        refused_too = await client.get(f"/v1/streams/{stream_id}/events", headers=ADMIN)
        assert (refused_too.status_code, refused_too.json()["limit"]) == (429, "tails")
        for thread, after, code in (("t", "x", "bad_cursor"), ("u", "", "thread_not_found")):
            await other.say(type="tail_thread", thread=thread, after=after, ref=thread)
            refused = await other.hear("error")
            assert (refused["code"], refused["ref"]) == (code, thread)
        await other.say(type="leave_thread", thread="t")
        await other.hear("closed")
        assert (await client.get(f"/v1/streams/{stream_id}/events", headers=ADMIN)).status_code == 200
        assert (await client.delete("/v1/threads/t", headers=ADMIN)).status_code == 204


async def test_it_ends_with_its_credential_and_goes_on_by_a_newer_one(client: httpx2.AsyncClient) -> None:
    """Ws/Renewal, Ws/Closed, I2: in the middle of a stream, and between two."""
    running = (await client.post("/v1/streams", json=SLOW, headers=ADMIN)).json()["id"]
    short = bearer(await read_token(client, thread="t", ttl_s=1))
    async with dial(client, additional_headers=short) as kept, dial(client, additional_headers=short) as ended:
        for talk in (kept, ended):
            await talk.say(type="tail_thread", thread="t")
        objects = await objects_until(kept, "text")
        await kept.say(type="auth", key=await read_token(client, thread="t", ttl_s=60), ref="new")
        while (answer := await kept.hear("ready", "entries")).get("ref") != "new":
            objects += answer.get("entries", [])
        assert (await objects_until(ended, "parting"))[-1] == {"type": "parting", "reason": "token_expired"}
        assert await ended.hear() == {"type": "closed", "thread": "t"}
        assert (await ended.hear())["code"] == "token_expired"
        with pytest.raises(ConnectionClosed):
            await ended.hear()
        await client.post(f"/v1/streams/{running}/cancel", headers=ADMIN)
        objects += await objects_until(kept, "stream_ended")
        await started(client, ADMIN, thread="t")
        objects += await objects_until(kept, "stream_ended")
        assert objects == [{"cursor": cursor, **data} for cursor, _, data in await replay(client)]


async def test_a_stopping_broker_says_so_between_two_streams(settings: Settings) -> None:
    """Ws/Closed, Ws/Drain."""
    app = create_app(settings)
    async with inside.worker(settings), inside.served(settings, app) as client, dial(client) as talk:
        await started(client, {}, thread="t")
        await talk.say(type="tail_thread", thread="t")
        await objects_until(talk, "stream_ended")
        await app.services.part(5.0)
        parting = (await talk.hear("entries"))["entries"]
        assert [each.keys() for each in parting] == [{"type", "retry_ms"}]
        assert await talk.hear() == {"type": "closed", "thread": "t"}
        with pytest.raises(ConnectionClosed) as closed:
            await talk.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
