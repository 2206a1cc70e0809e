"""The AI SDK face on the wire (PROTOCOL: The AI SDK face); the real clients are at tests/e2e/test_ai_sdk.py."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from midstream.settings import Settings
from tests import inside, ui_stream
from tests import system as processes
from tests.system import System
from tests.ui_stream import Part, body, check_shape, kinds, post, resume, text, user

APPS = {name: f"tests.contract.ui_sources:{name}" for name in ("everything", "cut_in_a_call")}
LONG = {"words": 3_000, "delay_ms": 5}
LABEL = "[demo] This is canned text, no model was asked. "


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    apps = settings.model_copy(update={"apps": APPS})
    async with inside.worker(apps), inside.broker(apps) as client:
        yield client


@asynccontextmanager
async def running(client: httpx2.AsyncClient, **more: Any) -> AsyncIterator[AsyncIterator[Part]]:
    """A chat whose answer has begun to come, and goes on for long."""
    request = body(params=LONG, **more)
    async with client.stream("POST", "/api/chat", json=request) as answer:
        assert answer.status_code == 200
        parts = ui_stream.parse(answer)
        async for part in parts:
            if part.type == "text-delta":
                break
        yield parts


async def stop(client: httpx2.AsyncClient, chat: str = "chat-1", **more: Any) -> tuple[int, dict[str, Any]]:
    answer = await client.post(f"/api/chat/{chat}/stop", json=more)
    return answer.status_code, answer.json()


async def streams(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    """All streams, the newest first."""
    listed: list[dict[str, Any]] = (await client.get("/v1/streams")).json()["data"]
    return listed


async def test_an_answer_is_one_message_with_closed_parts_and_a_finish(client: httpx2.AsyncClient) -> None:
    parts = await post(client, body(params={"words": 3}))
    check_shape(parts)
    assert kinds(parts) == [
        "start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish", "[DONE]",
    ]  # fmt: skip
    assert text(parts) == f"{LABEL}1 2 3 "
    (stream,) = await streams(client)
    assert parts[0].data == {"type": "start", "messageId": f"msg-{stream['id']}"}
    assert parts[-2].data["finishReason"] == "stop"
    assert stream["thread"] == "chat-1"
    assert {part.id.partition(".")[0] for part in parts if part.id} == {stream["id"][:8]}


async def test_every_type_of_entry_has_its_part(client: httpx2.AsyncClient) -> None:
    parts = await post(client, body(model="app/everything"))
    check_shape(parts)
    by_type: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        by_type.setdefault(part.type, []).append({name: it for name, it in part.data.items() if name != "type"})
    assert (text(parts, "reasoning"), text(parts)) == ("hm", "behind")
    assert by_type["source-url"] == [{"sourceId": "s1", "url": "https://example.org/", "title": "An example"}]
    assert by_type["source-document"] == [{"sourceId": "s2", "mediaType": "application/pdf", "title": "A book"}]
    assert by_type["tool-input-start"] == [{"toolCallId": "c1", "toolName": "weather"}]
    assert "".join(part["inputTextDelta"] for part in by_type["tool-input-delta"]) == '{"city":"Bern"}'
    assert by_type["tool-input-available"][0] == {"toolCallId": "c1", "toolName": "weather", "input": {"city": "Bern"}}
    assert by_type["tool-output-available"] == [{"toolCallId": "c1", "output": {"degrees": 7}}]
    assert by_type["tool-output-error"] == [{"toolCallId": "c2", "errorText": "no such city"}]
    assert by_type["data-tool-result"] == [{"data": {"tool_call_id": "nobodys", "output": 1}}]
    assert (by_type["tool-input-error"][0]["toolCallId"], by_type["tool-input-error"][0]["input"]) == ("c3", "{no json")
    assert by_type["file"] == [
        {"url": "data:text/plain;base64,aGk=", "mediaType": "text/plain"},
        {"url": "https://example.org/cat.png", "mediaType": "image/png"},
    ]
    assert by_type["data-mood-swing"] == [{"data": {"level": 3}}]
    assert by_type["data-refusal"] == [{"data": {"text": "I will not."}}]
    assert by_type["data-usage"][0]["transient"] is True
    assert by_type["finish"] == [{"finishReason": "length"}]


async def test_every_cut_resumes_by_its_cursor_to_the_same_parts(client: httpx2.AsyncClient) -> None:
    whole = await post(client, body(model="app/everything"))
    for number, part in enumerate(whole):
        if part.id and part.type != "[DONE]":
            rest = await resume(client, after=part.id)
            assert rest is not None
            assert [it for it in rest if it.type != "data-replay"] == whole[number + 1 :]
    assert await resume(client, after=whole[-1].id) is None


async def test_a_second_tab_gets_all_of_it_under_the_same_message_and_a_boundary(client: httpx2.AsyncClient) -> None:
    async with running(client) as first:
        second = asyncio.create_task(resume(client))
        async for part in first:
            if part.id.endswith(".30"):
                break
        third = asyncio.create_task(resume(client, after=part.id))
        await asyncio.sleep(0.05)
        assert (await stop(client))[0] == 202
        rest = [part] + [it async for it in first]
    whole, behind = await second, await third
    assert whole is not None
    assert behind is not None
    check_shape(whole)
    assert sum(it.type == "data-replay" for it in whole) == 1
    plain = [it for it in whole if it.type != "data-replay"]
    assert plain[0].data["messageId"].startswith("msg-")
    at = plain.index(part)
    assert plain[at:] == rest
    assert [it for it in behind if it.type != "data-replay"] == rest[1:]


async def test_a_reader_that_does_not_follow_gets_what_there_is_and_a_bare_end(client: httpx2.AsyncClient) -> None:
    async with running(client) as first:
        answer = await client.get("/api/chat/chat-1/stream", params={"follow": False})
        parts = [it async for it in ui_stream.parse(answer)]
        assert (parts[0].type, parts[-1].type) == ("start", "data-replay")
        last = [part.id for part in parts if part.id][-1]
        rest = asyncio.create_task(resume(client, after=last))
        assert (await stop(client))[0] == 202
        whole = [it async for it in first]
    behind = await rest
    assert behind is not None
    joined = text(parts) + text(behind)
    assert joined.endswith(text(whole))
    assert behind[-1].type == "[DONE]"


async def test_stop_ends_every_tab_with_closed_parts_and_an_abort(client: httpx2.AsyncClient) -> None:
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
    request = body(params={"words": 60, "delay_ms": 5})
    answers = await asyncio.gather(*(post(client, request) for _ in range(8)))
    late = await post(client, request)
    assert len({text(parts) for parts in (*answers, late)}) == 1
    assert len({parts[0].data["messageId"] for parts in (*answers, late)}) == 1
    assert len(await streams(client)) == 1


async def test_another_post_cancels_the_answer_that_runs(client: httpx2.AsyncClient) -> None:
    async with running(client) as first:
        second = await post(client, body("other", params={"words": 2}))
        assert [part.type async for part in first][-2:] == ["abort", "[DONE]"]
    assert text(second) == f"{LABEL}1 2 "
    assert [stream["outcome"] for stream in await streams(client)] == ["completed", "cancelled"]


async def test_regenerate_is_a_new_message_each_time(client: httpx2.AsyncClient) -> None:
    submitted = await post(client, body(params={"words": 1}))
    answered = {"id": submitted[0].data["messageId"], "role": "assistant", "parts": [{"type": "text", "text": "1"}]}
    again = body(params={"words": 1}) | {"trigger": "regenerate-message", "messages": [user("count"), answered]}
    ids = [submitted[0].data["messageId"]]
    for _ in range(2):
        parts = await post(client, again)
        ids.append(parts[0].data["messageId"])
        assert await resume(client) is None  # once its end was sent, the same request is a new one
    assert len(set(ids)) == 3
    shown = (await client.get(f"/v1/streams/{ids[-1].removeprefix('msg-')}")).json()
    assert shown["messages"] == [{"role": "user", "content": "count"}]


async def test_a_submit_repeated_behind_a_failure_is_a_new_attempt(client: httpx2.AsyncClient) -> None:
    request = body(model="app/cut_in_a_call")
    ids = []
    for _ in range(2):
        parts = await post(client, request)
        ids.append(parts[0].data["messageId"])
        assert await resume(client) is None
    assert len(set(ids)) == 2


async def test_a_failure_ends_in_an_error_that_says_why(client: httpx2.AsyncClient) -> None:
    parts = await post(client, body(model="app/cut_in_a_call"))
    check_shape(parts)
    cut, facts, error, done = parts[-4:]
    assert (cut.type, cut.data["toolCallId"]) == ("tool-input-error", "c1")
    expected = {"code": "provider_error", "message": "The provider failed.", "outcome": "failed"}
    assert (facts.data["data"], facts.data["transient"]) == (expected, True)
    assert (error.data, done.type) == ({"type": "error", "errorText": "The provider failed."}, "[DONE]")


async def test_a_stop_leaves_a_cut_call_unanswered(client: httpx2.AsyncClient) -> None:
    request = body(model="app/cut_in_a_call", params={"wait": True})
    async with client.stream("POST", "/api/chat", json=request) as answer:
        parts = ui_stream.parse(answer)
        async for part in parts:
            if part.type == "tool-input-delta":
                break
        assert (await stop(client))[0] == 202
        assert [part.type async for part in parts] == ["abort", "[DONE]"]


@pytest.mark.leaves("a cancelled stream's slip lies in the queue until it expires", keys=["ms:queue"])
async def test_a_stop_before_the_first_entry_is_an_abort_too(settings: Settings) -> None:
    async with (  # no worker: it stays queued
        inside.broker(settings) as client,
        client.stream("POST", "/api/chat", json=body()) as answer,
    ):
        assert (await stop(client))[0] == 202
        assert [part.type async for part in ui_stream.parse(answer)] == ["start", "start-step", "abort", "[DONE]"]


async def test_a_submit_behind_an_assistant_message_continues_it(client: httpx2.AsyncClient) -> None:
    answered = {"id": "a1", "role": "assistant", "parts": [{"type": "text", "text": "so far"}]}
    parts = await post(client, body() | {"messages": [user("go"), answered]})
    assert parts[0].data["messageId"] == "a1"


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"id": "c"}, 400, "bad_request"),
    ({"id": "c", "messages": []}, 400, "bad_request"),
    ({"id": "c", "messages": [{"role": "user", "parts": []}]}, 400, "bad_request"),
    (body(model="nobody/nothing"), 422, "unknown_model"),
    (body(model="openai/gpt"), 422, "missing_provider_key"),
]


@pytest.mark.parametrize(("request_body", "status", "code"), BAD)
async def test_a_refusal_is_a_sentence_and_leaves_nothing(
    settings: Settings, redis: Any, request_body: dict[str, Any], status: int, code: str
) -> None:
    async with inside.broker(settings) as client:
        answer = await client.post("/api/chat", json=request_body)
    assert (answer.status_code, answer.headers["error-code"]) == (status, code)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text[0] not in "{["
    assert await redis.keys("ms:*") == []


async def test_tenants_have_chats_of_their_own(settings: Settings) -> None:
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


async def test_a_draining_broker_never_ends_an_answer_by_end_of_file(redis_url: str, tmp_path: Path) -> None:
    async with System(redis_url, tmp_path, broker_drain_ms=300) as system:
        await system.start()
        async with running(system.http) as parts:
            draining = asyncio.create_task(processes.stop(system.brokers[0]))
            last = [part async for part in parts][-2:]
            await draining
        assert [(part.event, part.type) for part in last] == [("parting", "error"), ("", "[DONE]")]
        await system.start_broker()
        assert (await stop(system.http))[0] == 202
        assert await resume(system.http) is not None
