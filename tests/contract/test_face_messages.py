"""Anthropic's own SDK at the messages door (PROTOCOL: Faces/Messages)."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import pytest
from pydantic import SecretStr

from broker.settings import Settings
from tests import inside, sse
from tests.contract.faces_support import Doors, ask, doors, events, on_provider, stream_id_of
from tests.provider.client import ProviderServer
from tests.provider.script import Script

MODELS = ["claude-test", "openai/gpt-test", "groq/chat-test"]
RICH = Script(words=6, reasoning=3, tool=True)


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


@pytest.mark.parametrize("model", MODELS)
async def test_streamed_and_whole_say_the_same(served: Doors, model: str) -> None:
    create = served.anthropic.messages.create
    found = await events(await create(model=model, max_tokens=99, messages=ask(RICH), stream=True))
    kinds = [event.type for event in found]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    starts = [event for event in found if event.type == "content_block_start"]
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


async def test_unsigned_thinking_is_not_given_back_to_the_provider(served: Doors, provider: ProviderServer) -> None:
    create = served.anthropic.messages.create
    first = await create(model="claude-test", max_tokens=9, messages=ask(RICH))
    result: Any = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}
    history: Any = [*ask(RICH), {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    await create(model="claude-test", max_tokens=9, messages=history)
    sent = (await provider.calls())[-1]["body"]["messages"]
    assert [block["type"] for block in sent[1]["content"]] == ["text", "tool_use"]


async def test_pings_keep_a_silent_message_open(settings: Settings) -> None:
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


async def test_either_header_carries_the_key(settings: Settings) -> None:
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
