"""What a peer's door does not do it refuses by name (PROTOCOL: Faces/Unsupported), and what `include` gives."""

from collections.abc import AsyncIterator
from typing import Any, cast

import openai
import pytest

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests.contract.sdk_clients import Doors, ask, doors, events, on_provider, stream_id_of
from tests.provider.client import ProviderServer

ENCRYPTED: Any = ["reasoning.encrypted_content"]


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"top_logprobs": 2}, "top_logprobs", "unsupported_parameter"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input", "unsupported_value"),
        ({"include": ["reasoning.everything"]}, "include", "unsupported_value"),
        ({"tools": [{"type": "custom", "name": "sql"}]}, "tools", "unsupported_value"),
    ],
)
async def test_a_response_says_what_it_cannot(
    served: Doors, provider: ProviderServer, options: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await served.openai.responses.create(**{"model": "gpt-test", "input": "x", **options})
    assert (refused.value.param, refused.value.code) == (param, code)
    assert await provider.requests() == []


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_value"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"functions": [{"name": "f", "parameters": {}}]}, "functions", "unsupported_parameter"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "unsupported_parameter"),
        ({"tools": [{"type": "custom", "custom": {"name": "sql"}}]}, "tools", "unsupported_value"),
    ],
)
async def test_a_completion_says_what_it_cannot(
    served: Doors, provider: ProviderServer, options: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await served.openai.chat.completions.create(model="gpt-test", messages=ask(Script()), **options)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert await provider.requests() == []


@pytest.mark.parametrize("options", [{"top_p": False}, {"temperature": "0.5"}])
async def test_a_number_is_a_number(served: Doors, provider: ProviderServer, options: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await served.openai.responses.create(model="gpt-test", input="x", **options)
    assert refused.value.param == next(iter(options))
    assert await provider.requests() == []


async def test_what_asks_for_nothing_is_no_offence(served: Doors, provider: ProviderServer) -> None:
    nothing: Any = {"n": 1, "logprobs": False, "modalities": ["text"], "audio": None, "stop": None}
    for model in ("gpt-test", "groq/chat-test", "anthropic/claude-test"):
        await served.openai.chat.completions.create(model=model, messages=ask(Script()), **nothing)
        await served.openai.responses.create(model=model, input=ask(Script()), top_logprobs=0, conversation=None)
    for_anthropic = (await provider.calls())[-2]["body"]
    assert "stop" not in for_anthropic  # which takes no nulls


@pytest.mark.parametrize("script", [Script(words=2, reasoning=3), Script(words=2, hidden=True)])
async def test_reasoning_in_cipher_comes_and_goes_back(served: Doors, provider: ProviderServer, script: Script) -> None:
    """Faces/Include, Entries/Data."""
    create = served.openai.responses.create
    stream = await create(model="gpt-test", input=ask(script), include=ENCRYPTED, store=False, stream=True)
    received = await events(stream)
    reasoning = received[-1].response.output[0]
    assert (reasoning.type, reasoning.encrypted_content) == ("reasoning", "sealed-0")
    done = next(event for event in received if event.type == "response.output_item.done")
    assert done.item == reasoning
    options: Any = [*ask(script), *received[-1].response.output, *ask(Script(words=1))]
    await create(model="gpt-test", input=options, include=ENCRYPTED, store=False)
    sent = (await provider.calls())[-1]["body"]["input"]
    assert (sent[1]["type"], sent[1]["encrypted_content"]) == ("reasoning", "sealed-0")
    assert "id" not in sent[1]  # our id means nothing to the provider
    for other in ("groq/chat-test", "anthropic/claude-test"):
        await create(model=other, input=options)
        assert "sealed-0" not in str((await provider.calls())[-1]["body"])


async def test_retrieve_includes_what_was_asked_for_then_or_now(served: Doors) -> None:
    """Faces/Include."""
    create, retrieve = served.openai.responses.create, served.openai.responses.retrieve
    created = await create(model="gpt-test", input=ask(Script(reasoning=2)), include=ENCRYPTED)
    again = await retrieve(created.id)
    assert again.output[0].encrypted_content == "sealed-0"  # type: ignore[union-attr]
    streamed = await events(await retrieve(created.id, stream=True, starting_after=3, include=ENCRYPTED))
    assert streamed[-1].response == again
    plain = await create(model="gpt-test", input=ask(Script(reasoning=2)))
    received = await retrieve(plain.id, include=ENCRYPTED)
    assert received.output[0].encrypted_content is None  # type: ignore[union-attr]  # the provider was not asked for it
    with pytest.raises(openai.BadRequestError) as refused:
        await retrieve(plain.id, include=["everything"])  # type: ignore[list-item]
    assert (refused.value.param, refused.value.code) == ("include", "unsupported_value")


async def test_what_is_not_to_be_stored_is_not_stored_upstream_either(served: Doors, provider: ProviderServer) -> None:
    """Responses/Store."""
    await served.openai.responses.create(model="gpt-test", input=ask(Script()), store=False)
    await served.openai.chat.completions.create(model="gpt-test", messages=ask(Script()), store=False)
    await served.openai.responses.create(model="gpt-test", input=ask(Script()))
    *unstored, stored = (call["body"] for call in await provider.calls())
    assert [(body["store"], "background" in body) for body in unstored] == [(False, False)] * 2
    assert (stored["store"], stored["background"]) == (True, True)


async def test_how_to_answer_is_told_to_anthropic_in_its_words(served: Doors, provider: ProviderServer) -> None:
    """Faces/Schemas."""
    schema: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
    model = "anthropic/claude-test"
    form: Any = {"type": "json_schema", "name": "weather", "schema": schema}
    nested: Any = {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema}}
    tool: Any = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
    await served.openai.responses.create(
        model=model,
        input=ask(Script()),
        text={"format": form},
        reasoning={"effort": "minimal"},
        tools=[tool],
        parallel_tool_calls=False,
    )
    await served.openai.chat.completions.create(
        model=model, messages=ask(Script()), response_format=nested, reasoning_effort="high"
    )
    await served.anthropic.messages.create(
        model=model,
        max_tokens=9,
        messages=ask(Script()),
        output_config={"format": {"type": "json_schema", "schema": schema}, "effort": "max"},
    )
    bodies = [call["body"] for call in await provider.calls()]
    assert [body["output_config"]["format"] for body in bodies] == [{"type": "json_schema", "schema": schema}] * 3
    assert [body["output_config"]["effort"] for body in bodies] == ["low", "high", "max"]
    assert bodies[0]["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    for body in bodies:  # Anthropic refuses what it does not know
        assert not {"text", "reasoning", "response_format", "reasoning_effort", "parallel_tool_calls"} & set(body)


@pytest.mark.parametrize("running", [False, True])
async def test_a_number_beyond_the_last_event_is_told(served: Doors, running: bool) -> None:
    """Responses/Sequence."""
    script = Script(words=50, delay_ms=20) if running else Script(words=3)
    response = await served.openai.responses.create(model="gpt-test", input=ask(script), background=running)
    for number in (1_000, 10**30):
        with pytest.raises(openai.BadRequestError, match="nothing to start after") as refused:
            await served.openai.responses.retrieve(response.id, stream=True, starting_after=number)
        assert (refused.value.param, refused.value.code) == ("starting_after", "bad_cursor")
    if running:
        await served.openai.responses.cancel(response.id)
    whole = await events(await served.openai.responses.retrieve(response.id, stream=True))
    last = await served.openai.responses.retrieve(response.id, stream=True, starting_after=len(whole) - 1)
    assert await events(last) == []  # who has the last event has everything


PDF = "data:application/pdf;base64,AAAA"


async def test_a_document_reaches_every_provider_in_its_shape(served: Doors, provider: ProviderServer) -> None:
    turns: Any = [
        [{"type": "input_file", "filename": "a.pdf", "file_data": PDF}],
        [{"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}],
    ]
    document: Any = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    for model in ("gpt-test", "groq/chat-test", "anthropic/claude-test"):
        await served.openai.responses.create(model=model, input=[{"role": "user", "content": turns[0]}])
        await served.openai.chat.completions.create(model=model, messages=[{"role": "user", "content": turns[1]}])
        full = model if "/" in model else f"openai/{model}"
        await served.anthropic.messages.create(
            model=full,
            max_tokens=9,
            messages=cast(
                "Any", [{"role": "user", "content": [{"type": "document", "title": "a.pdf", "source": document}]}]
            ),
        )
    sent = [call["body"].get("input") or call["body"]["messages"] for call in await provider.calls()]
    parts = [messages[0]["content"][0] for messages in sent]
    assert (
        parts
        == [turns[0][0]] * 3 + [turns[1][0]] * 3 + [{"type": "document", "title": "a.pdf", "source": document}] * 3
    )


async def test_one_call_at_a_time_is_told_to_openai(served: Doors, provider: ProviderServer) -> None:
    """Faces/Schemas."""
    schema: Any = {"type": "object", "properties": {}, "additionalProperties": False}
    for model in ("openai/gpt-test", "groq/chat-test"):
        await served.anthropic.messages.create(
            model=model,
            max_tokens=9,
            messages=ask(Script()),
            tools=[{"name": "f", "input_schema": {"type": "object"}}],
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
            output_config={"format": {"type": "json_schema", "schema": schema}, "effort": "low"},
        )
    responses, chat = (call["body"] for call in await provider.calls())
    assert [(body["tool_choice"], body["parallel_tool_calls"]) for body in (responses, chat)] == [
        ("required", False)
    ] * 2
    assert (responses["text"]["format"]["schema"], responses["reasoning"]["effort"]) == (schema, "low")
    assert (chat["response_format"]["json_schema"]["schema"], chat["reasoning_effort"]) == (schema, "low")


async def test_what_any_face_was_asked_is_listed_as_items(served: Doors) -> None:
    call: Any = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chat = await served.openai.chat.completions.create(
        model="gpt-test",
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": PDF}}],
            },
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            *ask(Script()),
        ],
    )
    result: Any = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "rain"}]}
    turn: Any = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "So."},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
    ]
    message = await served.anthropic.messages.create(
        model="claude-test",
        max_tokens=9,
        messages=[*ask(Script()), {"role": "assistant", "content": turn}, {"role": "user", "content": [result]}],
    )
    listed = [
        (await served.openai.responses.input_items.list(f"resp_{stream_id_of(sdk_id)}", order="asc")).data
        for sdk_id in (chat.id, message.id)
    ]
    of_chat, of_message = ([item.type for item in items] for items in listed)
    assert of_chat == ["message", "function_call", "function_call_output", "message"]
    assert of_message == ["message", "message", "function_call", "function_call_output"]
