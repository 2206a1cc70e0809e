"""The fake provider itself: many streams at once, honest books."""

import asyncio
from typing import Any

import httpx2
import openai
import pytest

from midstream.testing.provider.script import Script, directive
from tests.contract.source_reading import prompt, read, source_for
from tests.provider.client import ProviderServer


async def test_two_hundred_streams_at_once(provider: ProviderServer) -> None:
    script = Script(words=30, delay_ms=20)
    async with source_for(provider, "chat") as source:
        all_read = await asyncio.gather(*(read(source.open(prompt(script))) for _ in range(200)))
    assert {got.text for got in all_read} == {script.text()}
    calls = await provider.calls()
    assert len(calls) == 200
    assert {(call["connection"], call["steps_sent"]) for call in calls} == {("completed", 30)}


async def test_it_fails_as_often_as_it_is_told(provider: ProviderServer) -> None:
    body = {"model": "m", "input": directive(Script(fail="status", status=503, fail_times=2))}
    async with httpx2.AsyncClient(base_url=provider.openai_url) as client:
        statuses = [(await client.post("/responses", json=body)).status_code for _ in range(4)]
    assert statuses == [503, 503, 200, 200]
    assert [call["billed"] for call in await provider.requests()] == [False, False, True, True]


async def test_its_objects_are_those_of_the_sdk(provider: ProviderServer) -> None:
    script = Script(words=3, reasoning=1, tool=True)
    async with openai.AsyncOpenAI(
        api_key="none", base_url=provider.openai_url, _strict_response_validation=True
    ) as client:
        response = await client.responses.create(model="m", input=directive(script))
        completion = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": directive(script)}]
        )
    assert response.output_text == script.text()
    assert completion.choices[0].message.content == script.text()


MESSAGE = {"role": "user", "content": "x"}
ANSWER = {"role": "assistant", "content": "x"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
LOOSE = {"name": "a", "schema": {"type": "object", "properties": {}}}
PART = {"type": "text", "text": 4}
IMAGE = {"type": "image", "source": {"type": "base64", "data": "AAAA"}}

OF_CHAT = [
    ({"messages": [MESSAGE, {**ANSWER, "annotations": []}]}, "Unknown parameter: 'messages[1].annotations'."),
    (
        {"messages": [MESSAGE, {**ANSWER, "reasoning_content": ""}]},
        "Unknown parameter: 'messages[1].reasoning_content'.",
    ),
    (
        {"messages": [{**MESSAGE, "content": [{**PART, "mark": 1}]}]},
        "Unknown parameter: 'messages[0].content[0].mark'.",
    ),
    ({"messages": [{"role": "user"}]}, "Missing required parameter: 'messages[0].content'."),
    ({}, "Missing required parameter: 'messages'."),
    ({"messages": [MESSAGE], "top_k": 1}, "Unknown parameter: 'top_k'."),
    (
        {"messages": [MESSAGE], "seed": "x"},
        "Invalid type for 'seed': expected an integer or null, but got a string instead.",
    ),
    ({"messages": [MESSAGE], "verbosity": "x"}, "Invalid value: 'x'. Supported values are: 'low', 'medium', 'high'."),
    (
        {"messages": [MESSAGE], "metadata": {"a": "b"}},
        "The 'metadata' parameter is only allowed when 'store' is enabled.",
    ),
    (
        {"messages": [MESSAGE], "response_format": {"type": "json_schema", "json_schema": {**LOOSE, "strict": True}}},
        "'a': In context=(), 'additionalProperties' is required to be supplied and to be false.",
    ),
    ({"messages": [{**ANSWER, "tool_calls": [CALL]}, MESSAGE]}, "did not have response messages: c1"),
    (
        {"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]},
        "must be a response to a preceding message",
    ),
]
OF_RESPONSES = [
    ({"input": [{**MESSAGE, "name": "bob"}]}, "Unknown parameter: 'input[0].name'."),
    (
        {"input": [{**MESSAGE, "content": [{**PART, "text": "x"}]}]},
        "Invalid value: 'text'. Supported values are: 'input_text'",
    ),
    ({"input": "x", "stop": "x"}, "Unknown parameter: 'stop'."),
    (
        {"input": "x", "text": {"format": {"type": "json_schema", **LOOSE, "name": 1}}},
        "Invalid type for 'text.format.name'",
    ),
    ({"input": "x", "background": True, "store": False}, "Background mode requires store=true."),
    (
        {"input": [{"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}]},
        "No tool output found for function call c1.",
    ),
    ({"input": [{"type": "bogus"}]}, "Invalid value: 'bogus'. Supported values are: 'message'"),
]
OF_MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({"messages": [MESSAGE, {**ANSWER, "annotations": []}]}, "messages.1.annotations: Extra inputs are not permitted"),
    ({"messages": [MESSAGE], "max_tokens": None}, "max_tokens: Input should be a valid integer"),
    ({"messages": [MESSAGE], "seed": 1}, "seed: Extra inputs are not permitted"),
    ({"messages": [{**MESSAGE, "content": [PART]}]}, "messages.0.content.0.text: Input should be a valid string"),
    ({"messages": [{**MESSAGE, "content": [IMAGE]}]}, "messages.0.content.0.source.media_type: Field required"),
    ({"messages": [{**ANSWER, "content": ""}, MESSAGE]}, "messages.0: all messages must have non-empty content"),
    (
        {"messages": [MESSAGE], "output_config": {"format": {"type": "json_schema", "schema": LOOSE["schema"]}}},
        "'additionalProperties' must be explicitly set to false",
    ),
    (
        {"messages": [{**ANSWER, "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}, MESSAGE]},
        "`tool_use` ids were found without `tool_result` blocks immediately after: t1",
    ),
]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        *(("chat/completions", *case) for case in OF_CHAT),
        *(("responses", *case) for case in OF_RESPONSES),
        *(("messages", {"max_tokens": 9, **body}, words) for body, words in OF_MESSAGES),
        ("messages", {"messages": [MESSAGE]}, "max_tokens: Field required"),
    ],
)
async def test_it_refuses_what_the_originals_refuse(
    provider: ProviderServer, path: str, body: dict[str, Any], words: str
) -> None:
    async with httpx2.AsyncClient(base_url=provider.openai_url) as client:
        answer = await client.post(f"/{path}", json={"model": "m", **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert words in error["message"]
    if "Unknown parameter" in words:
        assert (error["code"], error["param"]) == ("unknown_parameter", words.split("'")[1])
    assert await provider.calls() == []
