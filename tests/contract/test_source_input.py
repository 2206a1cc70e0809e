"""What a prompt becomes on the wire of each dialect: the provider's books hold the bodies that it got."""

from typing import Any

import pytest

from midstream_worker.sources.source import Prompt
from tests.contract.source_reading import (
    ANTHROPIC,
    ANTHROPIC_TOOL,
    CHAT,
    CHAT_TOOL,
    DIALECTS,
    RESPONSES,
    RESPONSES_TOOL,
    read,
    source_for,
)
from tests.provider.client import ProviderServer

Json = dict[str, Any]

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


async def sent(provider: ProviderServer, dialect: str, messages: list[Json], params: Json | None = None) -> Json:
    async with source_for(provider, dialect) as source:
        got = await read(source.open(Prompt("model-test", messages, params or {})))
    assert got.finish == "stop"
    body: Json = (await provider.requests())[-1]["body"]
    return body


@pytest.mark.parametrize("messages", [CHAT, RESPONSES], ids=["chat", "responses"])
async def test_messages_for_responses(provider: ProviderServer, messages: list[Json]) -> None:
    body = await sent(provider, "responses", messages)
    assert body["input"] == RESPONSES


@pytest.mark.parametrize("messages", [CHAT, RESPONSES], ids=["chat", "responses"])
async def test_messages_for_chat(provider: ProviderServer, messages: list[Json]) -> None:
    body = await sent(provider, "chat", messages)
    assert body["messages"] == CHAT
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("messages", [CHAT, RESPONSES, ANTHROPIC], ids=["chat", "responses", "anthropic"])
async def test_messages_for_anthropic(provider: ProviderServer, messages: list[Json]) -> None:
    params = {"system": "Be brief."} if messages is ANTHROPIC else {}
    body = await sent(provider, "anthropic", messages, params)
    assert body["messages"] == ANTHROPIC
    assert body["system"] == "Be brief."


@pytest.mark.parametrize(("dialect", "field"), [("responses", "input"), ("chat", "messages")])
async def test_anthropic_messages_for_openai(provider: ProviderServer, dialect: str, field: str) -> None:
    body = await sent(provider, dialect, ANTHROPIC)
    written = {"responses": RESPONSES, "chat": CHAT}[dialect]
    assert body[field] == written[1:]


async def test_results_of_parallel_calls_are_one_anthropic_message(provider: ProviderServer) -> None:
    calls = [{**CHAT[2]["tool_calls"][0], "id": call_id} for call_id in ("c1", "c2")]
    results = [{"role": "tool", "tool_call_id": call_id, "content": call_id} for call_id in ("c1", "c2")]
    turns = [{"role": "user", "content": "Hi"}, {**CHAT[2], "tool_calls": calls}]
    body = await sent(provider, "anthropic", [*turns, *results])
    blocks = [{"type": "tool_result", "tool_use_id": call_id, "content": call_id} for call_id in ("c1", "c2")]
    assert body["messages"][2:] == [{"role": "user", "content": blocks}]


@every_dialect
@pytest.mark.parametrize("tool", [CHAT_TOOL, RESPONSES_TOOL, ANTHROPIC_TOOL], ids=["chat", "responses", "anthropic"])
async def test_function_tools_of_any_dialect(provider: ProviderServer, dialect: str, tool: Json) -> None:
    body = await sent(provider, dialect, [{"role": "user", "content": "Hi"}], {"tools": [tool], "tool_choice": "auto"})
    expected: Json = {"anthropic": ANTHROPIC_TOOL, "responses": RESPONSES_TOOL, "background": RESPONSES_TOOL}.get(
        dialect, CHAT_TOOL
    )
    assert body["tools"][0] | expected == body["tools"][0]
    assert body["tool_choice"] == ({"type": "auto"} if dialect == "anthropic" else "auto")


@every_dialect
async def test_a_named_tool_choice(provider: ProviderServer, dialect: str) -> None:
    params = {"tool_choice": {"type": "function", "function": {"name": "f"}}}
    body = await sent(provider, dialect, [{"role": "user", "content": "Hi"}], params)
    expected: Json = {
        "anthropic": {"type": "tool", "name": "f"},
        "responses": {"type": "function", "name": "f"},
        "background": {"type": "function", "name": "f"},
    }.get(dialect, params["tool_choice"])
    assert body["tool_choice"] == expected


@every_dialect
async def test_other_params_are_passed_on_and_ours_are_kept(provider: ProviderServer, dialect: str) -> None:
    theirs = {"temperature": 0.5, "service_tier": "auto"}
    breaking = {"stream": False, "background": "no", "n": 3, "model": "other", "input": "x", "messages": []}
    body = await sent(provider, dialect, [{"role": "user", "content": "Hi"}], {**theirs, **breaking})
    assert body | theirs == body
    assert (body["stream"], body["model"]) == (True, "model-test")
    assert "n" not in body
    assert body.get("background", False) is (dialect == "background")
    assert body.get("store", False) is (dialect == "background")


async def test_what_is_not_to_be_stored_cannot_be_read_again(provider: ProviderServer) -> None:
    async with source_for(provider, "background") as source:
        got = await read(source.open(Prompt("model-test", [{"role": "user", "content": "Hi"}], {"store": False})))
    assert [upstream.resumable for upstream in got.upstreams] == [False]
    body: Json = (await provider.requests())[-1]["body"]
    assert (body["store"], "background" in body) == (False, False)


@every_dialect
@pytest.mark.parametrize("name", ["max_tokens", "max_output_tokens"])
async def test_the_limit_by_either_name(provider: ProviderServer, dialect: str, name: str) -> None:
    body = await sent(provider, dialect, [{"role": "user", "content": "Hi"}], {name: 5})
    newer = {"responses": "max_output_tokens", "background": "max_output_tokens", "chat": "max_completion_tokens"}
    expected = newer.get(dialect, "max_tokens")
    assert {key: value for key, value in body.items() if key.startswith("max_")} == {expected: 5}


async def test_anthropic_gets_a_limit_if_none_is_given(provider: ProviderServer) -> None:
    body = await sent(provider, "anthropic", [{"role": "user", "content": "Hi"}])
    assert body["max_tokens"] == 8_192
