"""Names of objects at the provider, which all tenants would share (PROTOCOL: Access/Objects)."""

from typing import Any

import pytest
from pydantic import ValidationError

from midstream.settings import Settings
from tests import inside
from tests.contract.sdk_clients import on_provider
from tests.contract.ws_talk import dial
from tests.provider.client import ProviderServer

Json = dict[str, Any]

FILE = {"role": "user", "content": [{"type": "input_file", "file_id": "file-of-another"}]}
PARAMS: list[tuple[str, Json]] = [
    ("conversation", {"conversation": "conv_1"}),
    ("previous_response_id", {"previous_response_id": "resp_1"}),
    ("prompt", {"prompt": {"id": "pmpt_1"}}),
    ("container", {"container": "container_1"}),
    ("container", {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}),
    ("container", {"container": {"id": "container_1", "skills": []}}),
    ("file_ids", {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]}),
    ("vector_store_ids", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}),
    ("mcp_servers", {"mcp_servers": [{"type": "url", "url": "http://10.0.0.1/"}]}),
    ("server_url", {"tools": [{"type": "mcp", "server_label": "x", "server_url": "http://10.0.0.1/"}]}),
    ("server_url", {"tools": [{"type": "mcp_server", "name": "x", "url": "http://10.0.0.1/"}]}),
    ("previous_interaction_id", {"previous_interaction_id": "v1_1"}),
    ("file_search_store_names", {"tools": [{"type": "file_search", "file_search_store_names": ["stores/1"]}]}),
    ("connector_id", {"tools": [{"type": "mcp", "server_label": "x", "connector_id": "connector_gmail"}]}),
]
ITEMS: list[tuple[str, Json]] = [
    ("file_id", FILE),
    ("file_id", {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}),
    ("file_id", {"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "file-1"}}]}),
    ("file_id", {"type": "computer_call_output", "call_id": "c", "output": {"type": "x", "file_id": "file-1"}}),
    ("item_reference", {"type": "item_reference", "id": "msg_1"}),
    ("item_reference", {"id": "msg_1"}),
]
MADE_UP: list[Json] = [
    {"metadata": {"file_id": "mine", "conversation": "mine"}},
    {"tools": [{"type": "function", "name": "f", "parameters": {"properties": {"file_id": {"type": "string"}}}}]},
    {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"properties": {"prompt": {}}}}}},
    {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    {"conversation": None},
]


@pytest.mark.parametrize(("name", "params"), PARAMS)
async def test_params_name_no_object(settings: Settings, provider: ProviderServer, name: str, params: Json) -> None:
    """Access/Objects."""
    await _is_refused(on_provider(settings, provider), provider, name, {"input": "hi", "params": params})


@pytest.mark.parametrize(("name", "item"), ITEMS)
async def test_prompts_name_no_object(settings: Settings, provider: ProviderServer, name: str, item: Json) -> None:
    """Access/Objects."""
    await _is_refused(
        on_provider(settings, provider), provider, name, {"input": [{"role": "user", "content": "x"}, item]}
    )


async def _is_refused(settings: Settings, provider: ProviderServer, name: str, body: Json) -> None:
    start = body | {"model": "openai/gpt-test"}
    async with inside.broker(settings) as client:
        refused = await client.post("/v1/streams", json=start)
        assert (refused.status_code, refused.json()["code"]) == (400, "provider_object"), refused.text
        assert refused.json()["param"] == name
        async with dial(client) as talk:
            await talk.say(type="start", request=start)
            assert (await talk.hear("error"))["code"] == "provider_object"
        assert (await client.get("/v1/streams")).json()["data"] == []
    assert await provider.calls() == []


async def test_no_endpoint_lets_a_name_through(settings: Settings, provider: ProviderServer) -> None:
    """Access/Objects."""
    tools = {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}
    message = {"role": "user", "content": "hi"}
    bodies: dict[str, Json] = {
        "/v1/responses": {"input": "hi", **tools},
        "/v1/responses/compact": {"input": [FILE]},
        "/v1/responses/input_tokens": {"input": [FILE]},
        "/v1/chat/completions": {"messages": [message], **tools},
        "/v1/messages": {"messages": [message], "max_tokens": 9, "container": "container_1"},
        "/v1/messages/count_tokens": {"messages": [message], "mcp_servers": [{"type": "url", "url": "http://x/"}]},
        "/api/chat": {
            "id": "c",
            "messages": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}],
            "params": tools,
        },
    }
    async with inside.broker(on_provider(settings, provider)) as client:
        for path, body in bodies.items():
            model = "anthropic/claude-test" if "messages" in path else "openai/gpt-test"
            refused = await client.post(path, json=body | {"model": model})
            assert (refused.status_code, "MIDSTREAM_PROVIDER_OBJECTS" in refused.text) == (400, True), (
                path,
                refused.text,
            )
        assert (await client.get("/v1/streams")).json()["data"] == []
        assert (await client.post("/api/chat/c/stop")).json()["stream_id"] is None
    assert await provider.calls() == []


@pytest.mark.parametrize("params", MADE_UP)
async def test_what_a_client_makes_up_itself_is_no_name(settings: Settings, params: Json) -> None:
    """Access/Objects."""
    keyed = settings.model_copy(update={"providers": {"other": "http://127.0.0.1:9/v1"}, "retry_attempts": 1})
    async with inside.worker(keyed), inside.broker(keyed) as client:
        request = {"model": "other/m", "input": "hi", "params": params}
        started = await client.post("/v1/streams", json=request)
        assert started.status_code == 201, started.text
        await client.get(f"/v1/streams/{started.json()['id']}?wait=20")


async def test_the_operator_allows_names(settings: Settings, provider: ProviderServer) -> None:
    """Access/Objects."""
    for listed, status in (("vector_store_ids, file_id", 201), ("*", 201), ("file_id", 400)):
        changed = on_provider(settings, provider).model_copy(update={"provider_objects": listed})
        async with inside.worker(changed), inside.broker(changed) as client:
            tools = [{"type": "file_search", "vector_store_ids": ["vs_1"]}]
            request = {"model": "openai/gpt-test", "input": "hi", "params": {"tools": tools}}
            started = await client.post("/v1/streams", json=request)
            assert started.status_code == status, started.text
            if status == 201:
                await client.get(f"/v1/streams/{started.json()['id']}?wait=20")
                assert (await provider.calls())[-1]["body"]["tools"] == tools


async def test_an_app_has_params_of_its_own(settings: Settings) -> None:
    """Access/Objects."""
    async with inside.worker(settings), inside.broker(settings) as client:
        request = {"model": "demo/count", "input": "hi", "params": {"conversation": "mine", "words": 2, "delay_ms": 0}}
        started = await client.post("/v1/streams", json=request)
        assert started.status_code == 201
        await client.get(f"/v1/streams/{started.json()['id']}?wait=10")


async def test_what_is_no_item_is_the_providers_to_judge(settings: Settings, provider: ProviderServer) -> None:
    async with inside.broker(on_provider(settings, provider)) as client:
        for messages in (["x"], "x", {"role": "user"}, [[1]], None):
            request = {"model": "anthropic/claude-test", "messages": messages}
            answer = await client.post("/v1/messages/count_tokens", json=request)
            assert answer.status_code < 500, (messages, answer.text)


def test_an_unknown_name_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="the fields are some of"):
        Settings(provider_objects="file_id,fileid")
