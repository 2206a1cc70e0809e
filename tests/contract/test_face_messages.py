"""Anthropic's own SDK at the messages door (PROTOCOL: Messages/Entries)."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from pydantic import SecretStr

from midstream.settings import Settings
from midstream.testing.provider.messages_api import REDACTED, signature
from midstream.testing.provider.script import Script
from midstream_worker.sources.deltas import Delta, Finish, Other, Text
from tests import inside, sse
from tests.contract.sdk_clients import Doors, ask, doors, events, first_events, on_provider, stream_id_of
from tests.provider.client import ProviderServer

pytestmark = pytest.mark.both_ways

MODELS = ["claude-test", "openai/gpt-test", "groq/chat-test"]
RICH = Script(words=6, reasoning=3, tool=True)


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


@pytest.mark.parametrize("model", MODELS)
async def test_streamed_and_whole_say_the_same(served: Doors, model: str) -> None:
    create = served.anthropic.messages.create
    received = await events(await create(model=model, max_tokens=99, messages=ask(RICH), stream=True))
    kinds = [event.type for event in received]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    starts = [event for event in received if event.type == "content_block_start"]
    assert [start.content_block.type for start in starts] == ["thinking", "text", "tool_use"]
    assert [start.index for start in starts] == [0, 1, 2]
    async with served.anthropic.messages.stream(model=model, max_tokens=99, messages=ask(RICH)) as stream:
        final = await stream.get_final_message()
    whole = await create(model=model, max_tokens=99, messages=ask(RICH))
    for message in (final, whole):
        thinking, text, tool = message.content
        assert (thinking.thinking, text.text) == (RICH.reasoning_text(), RICH.text())  # type: ignore[union-attr]
        assert tool.input == {"city": "Zürich 😀", "words": 6}  # type: ignore[union-attr]
        assert (message.stop_reason, message.usage.output_tokens) == ("tool_use", 9)


async def test_why_it_stopped(served: Doors) -> None:
    for script, reason in (
        (Script(words=2), "end_turn"),
        (Script(words=2, finish="length"), "max_tokens"),
        (Script(refuse=True), "refusal"),
    ):
        message = await served.anthropic.messages.create(model="claude-test", max_tokens=9, messages=ask(script))
        assert message.stop_reason == reason
        assert message.content[0].text == script.text() + script.refusal()  # type: ignore[union-attr]


async def test_a_failure_in_mid_stream_raises_in_the_sdk(served: Doors) -> None:
    script = Script(fail="error_event", fail_at=4)
    stream = await served.anthropic.messages.create(
        model="claude-test", max_tokens=9, messages=ask(script), stream=True
    )
    seen: list[Any] = []
    with pytest.raises(anthropic.APIStatusError) as failed:
        await events(stream, seen)
    assert failed.value.type == "overloaded_error"
    assert seen[-1].type == "content_block_delta"


async def test_system_and_tools_reach_either_provider(served: Doors, provider: ProviderServer) -> None:
    tool: Any = {"name": "get_weather", "description": "d", "input_schema": {"type": "object", "properties": {}}}
    marked: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    for model in ("claude-test", "groq/chat-test"):
        await served.anthropic.messages.create(
            model=model, max_tokens=9, messages=ask(Script()), system=marked, tools=[tool], stop_sequences=["END"]
        )
    own, chat = (call["body"] for call in await provider.calls())
    assert own["system"] == marked
    assert chat["messages"][0] == {"role": "system", "content": "Be brief."}
    assert chat["tools"][0]["function"]["name"] == "get_weather"
    assert (own["stop_sequences"], chat["stop"]) == (["END"], ["END"])


THOUGHTFUL = Script(words=4, redact=True, reasoning=3, tool=True, afterthought=2)


async def test_signed_thinking_comes_and_goes_back_as_it_was(served: Doors, provider: ProviderServer) -> None:
    """Faces/Thinking, Entries/Data."""
    create = served.anthropic.messages.create
    request: Any = {"model": "claude-test", "max_tokens": 9}
    async with served.anthropic.messages.stream(**request, messages=ask(THOUGHTFUL)) as stream:
        streamed = await stream.get_final_message()
    whole = await create(**request, messages=ask(THOUGHTFUL))
    assert [block.model_dump() for block in streamed.content] == [block.model_dump() for block in whole.content]
    redacted, first, text, tool, last = (block.model_dump(exclude_none=True) for block in whole.content)
    assert redacted == {"type": "redacted_thinking", "data": REDACTED}
    assert (first["thinking"], first["signature"]) == (THOUGHTFUL.reasoning_text(), signature(1))
    assert (text["text"], tool["type"]) == (THOUGHTFUL.text(), "tool_use")
    assert (last["thinking"], last["signature"]) == ("a0 a1 ", signature(4))
    result: Any = {"type": "tool_result", "tool_use_id": tool["id"], "content": "rain"}
    turns: Any = [{"role": "assistant", "content": whole.content}, {"role": "user", "content": [result]}]
    await create(**request, messages=[*ask(THOUGHTFUL), *turns])
    sent = (await provider.calls())[-1]["body"]["messages"][1]["content"]
    assert [{**part, "citations": []} for part in sent] == [
        {"citations": [], **block.model_dump(exclude_unset=True)} for block in whole.content
    ]


async def test_thinking_that_is_not_shown_keeps_its_signature(served: Doors) -> None:
    """Faces/Thinking."""
    message = await served.anthropic.messages.create(
        model="claude-test", max_tokens=9, messages=ask(Script(words=2, hidden=True))
    )
    thinking, text = (block.model_dump() for block in message.content)
    assert (thinking["thinking"], thinking["signature"], text["text"]) == ("", signature(0), "w0 w1 ")


@pytest.mark.parametrize("model", ["openai/gpt-test", "groq/chat-test"])
async def test_nobody_else_is_given_thinking(served: Doors, provider: ProviderServer, model: str) -> None:
    """Faces/Thinking."""
    create = served.anthropic.messages.create
    signed = await create(model="claude-test", max_tokens=9, messages=ask(THOUGHTFUL))
    unsigned = await create(model=model, max_tokens=9, messages=ask(RICH))
    for message, target in ((signed, model), (unsigned, "claude-test")):
        called = next(block.id for block in message.content if block.type == "tool_use")
        result: Any = [{"type": "tool_result", "tool_use_id": called, "content": "rain"}]
        turn: Any = [{"role": "assistant", "content": message.content}, {"role": "user", "content": result}]
        history: Any = [*ask(RICH), *turn, *ask(Script())]
        await create(model=target, max_tokens=9, messages=history)
        sent = (await provider.calls())[-1]["body"]
        assert "thinking" not in str(sent.get("messages") or sent["input"])
        assert "get_weather" in str(sent)
    alone: Any = [*ask(RICH), {"role": "assistant", "content": unsigned.content[:1]}, *ask(Script())]
    await create(model="claude-test", max_tokens=9, messages=alone)
    assert len((await provider.calls())[-1]["body"]["messages"]) == 2  # Anthropic takes no empty message


async def test_the_stop_sequence_is_told(served: Doors) -> None:
    """Entries/Data."""
    script = Script(words=2, stopped_by="END")
    whole = await served.anthropic.messages.create(
        model="claude-test", max_tokens=9, messages=ask(script), stop_sequences=["END"]
    )
    assert (whole.stop_reason, whole.stop_sequence) == ("stop_sequence", "END")
    async with served.anthropic.messages.stream(model="claude-test", max_tokens=9, messages=ask(script)) as stream:
        streamed = await stream.get_final_message()
    assert (streamed.stop_reason, streamed.stop_sequence) == ("stop_sequence", "END")


async def test_pings_keep_a_silent_message_open(settings: Settings) -> None:
    """Faces/No id."""
    quick = settings.model_copy(update={"heartbeat_ms": 80})
    body = {"model": "demo/story", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "stream": True}
    async with doors(quick) as served:
        answer = await served.http.post("/v1/messages", json={**body, "words": 3, "delay_ms": 300})
    assert answer.text.count("event: ping\n") >= 5
    assert "\nid:" not in answer.text


async def test_it_goes_on_by_its_stream_id(served: Doors) -> None:
    script = Script(words=30, delay_ms=5)
    create = served.anthropic.messages.create
    stream = await create(model="claude-test", max_tokens=9, messages=ask(script), stream=True)
    first: Any = await anext(aiter(stream))
    await stream.close()
    assert sse.text(await sse.tail(served.http, stream_id_of(first.message.id))) == script.text()


async def test_broken_at_every_event_nothing_is_lost(served: Doors, provider: ProviderServer) -> None:
    create = served.anthropic.messages.create
    request: Any = {"model": "claude-test", "max_tokens": 9, "messages": ask(THOUGHTFUL), "stream": True}
    whole = await events(await create(**request))
    for cut in range(len(whole)):
        stream = await create(**request)
        seen = await first_events(stream, cut + 1)
        sent_text = "".join(
            event.delta.text for event in seen if getattr(event, "delta", None) and hasattr(event.delta, "text")
        )
        assert THOUGHTFUL.text().startswith(sent_text)  # how it is cut into deltas is the log's own affair
        stream_id = stream_id_of(seen[0].message.id)
        assert sse.text(await sse.tail(served.http, stream_id)) == THOUGHTFUL.text()
    assert len(await provider.calls()) == 1 + len(whole)


async def begun_anew(messages: list[Any], params: dict[str, Any]) -> AsyncIterator[Delta]:
    """Take back what was said, as a restarted attempt does."""
    del messages, params
    yield Text("Hel")
    yield Other("reset", {"reason": "restarting"})
    yield Text("Hello")
    yield Finish("stop")


async def test_what_was_begun_anew_is_an_error_in_a_stream_and_whole_where_it_is_waited_for(settings: Settings) -> None:
    """Messages/Entries, Faces/Never silent."""
    apps = {"anew": f"{__name__}:begun_anew"}
    prompt: Any = [{"role": "user", "content": "x"}]
    async with doors(settings.model_copy(update={"apps": apps})) as served:
        create = served.anthropic.messages.create
        request: Any = {"model": "app/anew", "max_tokens": 9, "messages": prompt}
        seen: list[Any] = []
        with pytest.raises(anthropic.APIStatusError, match="begun anew") as failed:
            await events(await create(**request, stream=True), seen)
        assert failed.value.type == "overloaded_error"
        completion = await served.openai.chat.completions.create(model="app/anew", messages=prompt, stream=True)
        with pytest.raises(openai.APIError) as broken:
            await events(completion)
        assert broken.value.code == "stream_restarted"
        whole = await create(**request)
        assert [block.text for block in whole.content] == ["Hello"]
        completed = await served.openai.chat.completions.create(model="app/anew", messages=prompt)
        assert completed.choices[0].message.content == "Hello"
        response = await events(await served.openai.responses.create(model="app/anew", input=prompt, stream=True))
        assert response[-1].response.output_text == "Hello"


async def test_either_header_carries_the_key(settings: Settings) -> None:
    """Faces/Ids."""
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice")})
    body: Any = {"model": "demo/story", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    async with inside.worker(closed), inside.broker(closed) as http:
        for key in ({"api_key": "ka"}, {"auth_token": "ka"}):
            async with anthropic.AsyncAnthropic(base_url=str(http.base_url), **key) as client:  # type: ignore[arg-type]
                assert (await client.messages.create(**body)).stop_reason == "end_turn"
        async with anthropic.AsyncAnthropic(base_url=str(http.base_url), api_key="kb") as client:
            with pytest.raises(anthropic.AuthenticationError):
                await client.messages.create(**body)


async def test_models_are_listed_in_either_shape(served: Doors) -> None:
    of_openai = [model.id async for model in served.openai.models.list()]
    of_anthropic = [model.id async for model in served.anthropic.models.list()]
    assert of_openai == of_anthropic
    assert "demo/story" in of_openai
    assert (await served.openai.models.retrieve("demo/story")).owned_by == "demo"
    assert (await served.anthropic.models.retrieve("demo/story")).type == "model"
    native: httpx2.Response = await served.http.get("/v1/models")
    assert native.json()["default"] in of_openai
