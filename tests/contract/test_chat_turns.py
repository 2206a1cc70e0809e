"""A chat's turns (PROTOCOL: Chat/Turn): which POST joins, which begins anew, and what a stop stops."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx2
import pytest
from pydantic import SecretStr

from midstream.settings import Settings
from tests import inside, ui_stream
from tests.ui_stream import LABEL, LONG, body, post, resume, running, stop, streams, text, user

APPS = {"cut_in_a_call": "tests.contract.ui_sources:cut_in_a_call"}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    apps = settings.model_copy(update={"apps": APPS})
    async with inside.worker(apps), inside.broker(apps) as client:
        yield client


async def test_stop_ends_every_tab_with_closed_parts_and_an_abort(client: httpx2.AsyncClient) -> None:
    """Chat/Stop, Chat/End."""
    async with running(client) as first:
        others = [asyncio.create_task(resume(client)) for _ in range(2)]
        status, answer = await stop(client)
        assert (status, answer["stopped"]) == (202, True)
        ends = [[part async for part in first], *(await asyncio.gather(*others))]
    for end in ends:
        assert [part.type for part in end or ()][-3:] == ["text-end", "abort", "[DONE]"]
    assert await resume(client) is None
    assert await stop(client) == (200, {"stopped": False, "stream_id": answer["stream_id"]})


async def test_stop_with_a_stale_stream_or_without_a_chat_stops_nothing(client: httpx2.AsyncClient) -> None:
    """Chat/Stop."""
    assert await stop(client, "nobodys") == (200, {"stopped": False, "stream_id": None})
    await post(client, body("first"))
    stale = (await streams(client))[0]["id"]
    async with running(client):
        status, answer = await stop(client, stream_id=stale)
        assert (status, answer["stopped"]) == (200, False)
        assert answer["stream_id"] not in (None, stale)
        assert (await streams(client))[0]["status"] == "running"
        assert (await stop(client, stream_id=answer["stream_id"]))[0] == 202


async def test_a_closed_connection_stops_nothing_and_nobody_active_is_204(client: httpx2.AsyncClient) -> None:
    """Chat/Resume."""
    assert await resume(client, "nobodys") is None
    request = body(params={"words": 60, "delay_ms": 5})
    async with client.stream("POST", "/api/chat", json=request) as answer:
        stream_id = answer.headers["stream-id"]
        await anext(ui_stream.parse(answer))
    await client.get(f"/v1/streams/{stream_id}", params={"wait": 10})
    unseen = await resume(client)  # it has ended, but nobody was sent its end
    assert unseen is not None
    assert text(unseen).endswith(" 59 60 ")
    assert await resume(client) is None


async def test_the_same_post_repeated_joins_and_is_paid_once(client: httpx2.AsyncClient) -> None:
    """Chat/Pointer, Chat/Turn."""
    request = body(params={"words": 60, "delay_ms": 5})
    answers = await asyncio.gather(*(post(client, request) for _ in range(8)))
    late = await post(client, request)
    assert len({text(parts) for parts in (*answers, late)}) == 1
    assert len({parts[0].data["messageId"] for parts in (*answers, late)}) == 1
    assert len(await streams(client)) == 1


async def test_another_post_cancels_the_answer_that_runs(client: httpx2.AsyncClient) -> None:
    """Chat/Turn."""
    async with running(client) as first:
        second = await post(client, body("other", params={"words": 2}))
        assert [part.type async for part in first][-2:] == ["abort", "[DONE]"]
    assert text(second) == f"{LABEL}1 2 "
    assert [stream["outcome"] for stream in await streams(client)] == ["completed", "cancelled"]


async def test_regenerate_is_a_new_message_each_time(client: httpx2.AsyncClient) -> None:
    """Chat/Turn."""
    submitted = await post(client, body(params={"words": 1}))
    answered = {"id": submitted[0].data["messageId"], "role": "assistant", "parts": [{"type": "text", "text": "1"}]}
    again = body(params={"words": 1}) | {"trigger": "regenerate-message", "messages": [user("count"), answered]}
    ids = [submitted[0].data["messageId"]]
    for _ in range(2):
        parts = await post(client, again)
        ids.append(parts[0].data["messageId"])
        assert await resume(client) is None  # once its end was sent, the same request is a new one
    assert len(set(ids)) == 3
    state = (await client.get(f"/v1/streams/{ids[-1].removeprefix('msg-')}")).json()
    assert state["messages"] == [{"role": "user", "content": "count"}]


async def test_a_submit_repeated_after_a_failure_is_a_new_attempt(client: httpx2.AsyncClient) -> None:
    """Chat/Turn."""
    request = body(model="app/cut_in_a_call")
    ids = []
    for _ in range(2):
        parts = await post(client, request)
        ids.append(parts[0].data["messageId"])
        assert await resume(client) is None
    assert len(set(ids)) == 2


async def test_tenants_have_chats_of_their_own(settings: Settings) -> None:
    """Chat/Pointer."""
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice,kb:bob")})
    alice, bob = ({"Authorization": f"Bearer {key}"} for key in ("ka", "kb"))
    async with (
        inside.worker(closed),
        inside.broker(closed) as client,
        client.stream("POST", "/api/chat", json=body(params=LONG), headers=alice) as answer,
    ):
        assert answer.status_code == 200
        assert await resume(client, **bob) is None
        assert (await client.post("/api/chat/chat-1/stop", headers=bob)).json() == {"stopped": False, "stream_id": None}
        assert (await client.get("/api/chat/chat-1/stream")).status_code == 401
        assert (await client.post("/api/chat/chat-1/stop", headers=alice)).status_code == 202


async def test_a_restarted_broker_still_knows_the_chat(settings: Settings) -> None:
    """Chat/Pointer."""
    async with inside.worker(settings):
        async with (
            inside.broker(settings) as client,
            client.stream("POST", "/api/chat", json=body(params=LONG)) as answer,
        ):
            stream_id = answer.headers["stream-id"]
        async with inside.broker(settings) as client:
            tail = asyncio.create_task(resume(client))
            assert await stop(client) == (202, {"stopped": True, "stream_id": stream_id})
            parts = await tail
    assert parts is not None
    assert [part.type for part in parts][-2:] == ["abort", "[DONE]"]


@pytest.mark.parametrize("chat", ["a/b", "a\nb", "a\r\n/stream/é\u2028?#"])
async def test_a_chat_of_any_id_is_resumed_and_stopped(client: httpx2.AsyncClient, chat: str) -> None:
    """Chat/Doors, Chat/Resume."""
    named = quote(chat, safe="")
    async with running(client, chat=chat) as answer:
        assert (await stop(client, named))[0] == 202
        assert [part.type async for part in answer][-1] == "[DONE]"  # an end that nobody was sent is replayed
    assert await resume(client, named) is None
    assert (await stop(client, named))[0] == 200
