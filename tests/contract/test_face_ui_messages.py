"""The AI SDK face on the wire (PROTOCOL: The AI SDK face); the real clients are at tests/e2e/test_ai_sdk.py."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from midstream.settings import Settings
from tests import inside, leaks, ui_stream
from tests import system as processes
from tests.system import System
from tests.ui_stream import LABEL, body, check_shape, joined, kinds, post, resume, running, stop, streams, text, user

pytestmark = pytest.mark.both_ways

APPS = {name: f"tests.contract.ui_sources:{name}" for name in ("everything", "cut_in_a_call")}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    apps = settings.model_copy(update={"apps": APPS})
    async with inside.worker(apps), inside.broker(apps) as client:
        yield client


async def test_an_answer_is_one_message_with_closed_parts_and_a_finish(client: httpx2.AsyncClient) -> None:
    """Chat/End, Chat/Message."""
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
    """Chat/Parts."""
    parts = await post(client, body(model="app/everything"))
    check_shape(parts)
    by_type: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        by_type.setdefault(part.type, []).append({name: it for name, it in part.data.items() if name != "type"})
    assert (text(parts, "reasoning"), text(parts)) == ("hm", "whenever")
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
    """Chat/Resume."""
    whole = await post(client, body(model="app/everything"))
    for number, part in enumerate(whole):
        if part.id and part.type != "[DONE]":
            rest = await resume(client, after=part.id, query="catchup=plain")
            assert rest is not None
            assert [it for it in rest if it.type != "data-replay"] == whole[number + 1 :]
            merged = await resume(client, after=part.id)
            assert merged is not None
            merged = [it for it in merged if it.type != "data-replay"]
            assert joined(merged) == joined(whole[number + 1 :])  # Read/Coalesced, I5
            assert [it.data for it in merged] == joined(merged)
    assert await resume(client, after=whole[-1].id) is None


async def test_a_second_tab_gets_all_of_it_under_the_same_message_and_a_boundary(client: httpx2.AsyncClient) -> None:
    """Chat/Resume, Chat/Boundary."""
    async with running(client) as first:
        second = asyncio.create_task(resume(client, query="catchup=plain"))
        async for part in first:
            if part.id.endswith(".30"):
                break
        third = asyncio.create_task(resume(client, after=part.id, query="catchup=plain"))
        await asyncio.sleep(0.05)
        assert (await stop(client))[0] == 202
        rest = [part] + [it async for it in first]
    whole, rest_again = await second, await third
    assert whole is not None
    assert rest_again is not None
    check_shape(whole)
    assert sum(it.type == "data-replay" for it in whole) == 1
    plain = [it for it in whole if it.type != "data-replay"]
    assert plain[0].data["messageId"].startswith("msg-")
    at = plain.index(part)
    assert plain[at:] == rest
    assert [it for it in rest_again if it.type != "data-replay"] == rest[1:]


async def test_a_reader_that_does_not_follow_gets_what_there_is_and_a_bare_end(client: httpx2.AsyncClient) -> None:
    """Chat/Resume."""
    async with running(client) as first:
        answer = await client.get("/api/chat/chat-1/stream", params={"follow": False})
        parts = [it async for it in ui_stream.parse(answer)]
        assert (parts[0].type, parts[-1].type) == ("start", "data-replay")
        last = [part.id for part in parts if part.id][-1]
        rest = asyncio.create_task(resume(client, after=last))
        assert (await stop(client))[0] == 202
        whole = [it async for it in first]
    resumed = await rest
    assert resumed is not None
    joined = text(parts) + text(resumed)
    assert joined.endswith(text(whole))
    assert resumed[-1].type == "[DONE]"


async def test_a_failure_ends_in_an_error_that_says_why(client: httpx2.AsyncClient) -> None:
    """Chat/End."""
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


@pytest.mark.leaves("a cancelled stream's slip stays in the queue until it expires", keys=["ms:queue"])
async def test_a_stop_before_the_first_entry_is_an_abort_too(settings: Settings) -> None:
    async with (  # no worker: it stays queued
        inside.broker(settings) as client,
        client.stream("POST", "/api/chat", json=body()) as answer,
    ):
        assert (await stop(client))[0] == 202
        assert [part.type async for part in ui_stream.parse(answer)] == ["start", "start-step", "abort", "[DONE]"]


async def test_a_submit_after_an_assistant_message_continues_it(client: httpx2.AsyncClient) -> None:
    """Chat/Message."""
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
    """Chat/Doors."""
    async with inside.broker(settings) as client:
        answer = await client.post("/api/chat", json=request_body)
    assert (answer.status_code, answer.headers["error-code"]) == (status, code)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text[0] not in "{["
    assert await leaks.keys_of_requests(redis) == []


async def test_a_draining_broker_never_ends_an_answer_by_end_of_file(redis_url: str, tmp_path: Path) -> None:
    """Chat/End."""
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
