"""What the peers' public API descriptions require, and our own one (PROTOCOL: Faces/Untold, Faces/Allowed tools)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import orjson
import pytest

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests.contract.sdk_clients import Doors, ask, doors, events, on_provider
from tests.provider.client import ProviderServer

Json = dict[str, Any]

# The required fields of schemas `Message`, `Usage`, `MessageDelta`, `MessageDeltaUsage`, `ErrorResponse`, `ModelInfo`
# and `ResponseToolUseBlock` in Anthropic's OpenAPI description (August 2026), as far as no other test looks at them.
STOPPED = {"stop_reason", "stop_sequence", "stop_details", "container"}
COUNTED = {
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "server_tool_use",
}
USAGE = {*COUNTED, "cache_creation", "inference_geo", "service_tier"}


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


async def test_a_message_has_every_field_that_anthropic_requires(served: Doors) -> None:
    body = {"model": "claude-test", "max_tokens": 9, "messages": ask(Script(words=2, tool=True))}
    whole = (await served.http.post("/v1/messages", json=body)).json()
    streamed = await served.http.post("/v1/messages", json={**body, "stream": True})
    made = [orjson.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: ")]
    begun = next(event["message"] for event in made if event["type"] == "message_start")
    for message in (whole, begun):
        assert set(message) >= STOPPED
        assert set(message["usage"]) == USAGE
    ended = next(event for event in made if event["type"] == "message_delta")
    assert (set(ended["delta"]), set(ended["usage"])) == (STOPPED, COUNTED)
    calls = [event["content_block"] for event in made if event["type"] == "content_block_start"]
    for call in (whole["content"][-1], calls[-1]):
        assert (call["type"], call["caller"]) == ("tool_use", {"type": "direct"})
    # A list, also of nothing: the description requires the field, and the AI SDK's provider takes no null in it.
    assert whole["content"][0] == {"type": "text", "text": Script(words=2).text(), "citations": []}
    refused = await served.http.post("/v1/messages", json={})
    assert set(refused.json()) == {"type", "error", "request_id"}
    model = await served.http.get("/v1/models/demo/story", headers={"anthropic-version": "2023-06-01"})
    assert {"capabilities", "max_input_tokens", "max_tokens"} <= set(model.json())


async def test_input_items_have_every_field_that_openai_requires(served: Doors) -> None:
    history: Any = [
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.org/a.png"}]},
        {"role": "assistant", "content": "A cat."},
    ]
    response = await served.openai.responses.create(model="gpt-test", input=[*history, *ask(Script())])
    listed = (await served.http.get(f"/v1/responses/{response.id}/input_items?order=asc")).json()
    image, text, _ = (item["content"][0] for item in listed["data"])
    assert image["detail"] == "auto"
    assert (text["annotations"], text["logprobs"]) == ([], [])
    for part in (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
        },
    ):
        messages: Any = [{"role": "user", "content": [part]}, *ask(Script())]
        path = "/v1/chat/completions" if part["type"] == "file" else "/v1/messages"
        model = "gpt-test" if part["type"] == "file" else "claude-test"
        answer = await served.http.post(path, json={"model": model, "max_tokens": 9, "messages": messages})
        response_id = f"resp_{answer.headers['stream-id']}"
        listed = (await served.http.get(f"/v1/responses/{response_id}/input_items?order=asc")).json()
        file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}
        assert listed["data"][0]["content"] == [file]


async def test_a_cancelled_message_blames_nobody(served: Doors) -> None:
    slow: Any = {"model": "demo/count", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    waiting = asyncio.create_task(served.http.post("/v1/messages", json={**slow, "delay_ms": 50}))
    while not (listed := (await served.http.get("/v1/streams?status=running")).json()["data"]):
        await asyncio.sleep(0.01)
    await served.http.post(f"/v1/streams/{listed[0]['id']}/cancel")
    answer = await waiting
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "api_error")
    stream: Any = await served.anthropic.messages.create(**slow, extra_body={"delay_ms": 50}, stream=True)
    received: list[Any] = []
    async with stream:
        await served.http.post(f"/v1/streams/{stream.response.headers['stream-id']}/cancel")
        with pytest.raises(anthropic.APIStatusError) as raised:
            await events(stream, received)
    assert raised.value.type == "api_error"


NATIVE = {"input": "x", "model": "demo/story"}
CHAT = {"model": "demo/story", "messages": [{"role": "user", "content": "x"}]}
BODIES: dict[str, Json] = {
    "/v1/streams": NATIVE,
    "/v1/responses": NATIVE,
    "/v1/responses/compact": NATIVE,
    "/v1/chat/completions": CHAT,
    "/v1/messages": {**CHAT, "max_tokens": 9},
    "/api/chat": {"id": "c", "messages": [], "trigger": "submit-message"},
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded", "text/json"])
async def test_a_body_that_is_not_announced_as_json_is_told_so(
    served: Doors, redis: Any, path: str, media_type: str | None
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    answer = await served.http.post(path, content=b'{"model": "demo/story"}', headers=headers)
    assert (answer.status_code, "application/json" in answer.text) == (415, True)
    if path == "/v1/streams":
        assert answer.json()["code"] == "unsupported_media_type"
    elif path == "/v1/messages":
        assert answer.json()["error"]["type"] == "invalid_request_error"
    elif path != "/api/chat":
        assert answer.json()["error"]["code"] == "unsupported_media_type"
    assert await redis.keys("ms:*:state") == []


async def test_json_by_any_of_its_names_is_taken(served: Doors) -> None:
    for media_type in ("application/json; charset=utf-8", "application/vnd.api+json", "Application/JSON"):
        answer = await served.http.post(
            "/v1/streams", content=b'{"input": "x", "model": "demo/count"}', headers={"Content-Type": media_type}
        )
        assert answer.status_code == 201
        cancelled = await served.http.post(f"/v1/streams/{answer.json()['id']}/cancel")  # no body, no type
        assert cancelled.status_code == 202


TOOLS: Any = [
    {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}} for name in ("f", "g", "h")
]
NESTED: Any = [
    {"type": "function", "function": {name: it for name, it in tool.items() if name != "type"}} for tool in TOOLS
]
ALLOWED: Any = [{"type": "function", "name": "f"}, {"type": "function", "name": "h"}]
CHAT_ALLOWED: Any = [{"type": "function", "function": {"name": name}} for name in ("f", "h")]


@pytest.mark.parametrize(("mode", "of_anthropic"), [("auto", "auto"), ("required", "any")])
async def test_allowed_tools_reach_every_provider(
    served: Doors, provider: ProviderServer, mode: Any, of_anthropic: str
) -> None:
    flat: Any = {"type": "allowed_tools", "mode": mode, "tools": ALLOWED}
    nested: Any = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": CHAT_ALLOWED}}
    for model in ("gpt-test", "groq/chat-test", "anthropic/claude-test"):
        await served.openai.responses.create(model=model, input=ask(Script()), tools=TOOLS, tool_choice=flat)
        await served.openai.chat.completions.create(
            model=model, messages=ask(Script()), tools=NESTED, tool_choice=nested
        )
    bodies = [call["body"] for call in await provider.calls()]
    for body in bodies[:2]:
        assert (body["tool_choice"], len(body["tools"])) == (flat, 3)
    for body in bodies[2:4]:
        assert (body["tool_choice"], [tool["function"]["name"] for tool in body["tools"]]) == (mode, ["f", "h"])
    for body in bodies[4:]:
        assert (body["tool_choice"], [tool["name"] for tool in body["tools"]]) == ({"type": of_anthropic}, ["f", "h"])


async def test_an_allowed_tool_that_is_none_is_the_providers_to_refuse(served: Doors, provider: ProviderServer) -> None:
    wrong: Any = {"type": "allowed_tools", "mode": "auto", "tools": [*ALLOWED, {"type": "function", "name": "z"}]}
    with pytest.raises(openai.BadRequestError, match="tool_choice"):
        await served.openai.responses.create(
            model="groq/chat-test", input=ask(Script()), tools=TOOLS, tool_choice=wrong
        )
    sent = (await provider.requests())[0]["body"]
    assert (sent["tool_choice"], len(sent["tools"])) == (wrong, 3)
