"""OpenAI's own SDK at the chat completions door (PROTOCOL: Completions/Entries)."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from midstream.faces.chat import ChatFace
from midstream.log.entries import Entry, Stored, encode, text
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import sse
from tests.contract.sdk_clients import Doors, ask, doors, events, first_events, on_provider, stream_id_of
from tests.provider.client import ProviderServer

pytestmark = pytest.mark.both_ways

MODELS = ["gpt-test", "groq/chat-test", "anthropic/claude-test"]
RICH = Script(words=6, reasoning=3, tool=True)


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


@pytest.mark.parametrize("model", MODELS)
async def test_streamed_and_whole_say_the_same(served: Doors, model: str) -> None:
    create = served.openai.chat.completions.create
    chunks = await events(
        await create(model=model, messages=ask(RICH), stream=True, stream_options={"include_usage": True})
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == RICH.text()
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == RICH.reasoning_text()
    assert "".join(call.function.arguments for call in calls) == RICH.arguments()
    assert (calls[0].function.name, {call.index for call in calls}) == ("get_weather", {0})
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "tool_calls"
    assert chunks[-1].usage.completion_tokens == 9
    whole = await create(model=model, messages=ask(RICH))
    message: Any = whole.choices[0].message
    assert (message.content, message.reasoning_content) == (RICH.text(), RICH.reasoning_text())
    assert message.tool_calls[0].function.arguments == RICH.arguments()
    assert (whole.choices[0].finish_reason, whole.model) == ("tool_calls", model)
    assert whole.usage is not None
    assert whole.usage == chunks[-1].usage


async def test_usage_is_told_only_where_it_was_asked_for(served: Doors) -> None:
    stream = await served.openai.chat.completions.create(model="gpt-test", messages=ask(Script()), stream=True)
    assert all(chunk.choices and chunk.usage is None for chunk in await events(stream))


async def test_the_helper_accumulates_what_the_log_has(served: Doors) -> None:
    async with served.openai.chat.completions.stream(model="gpt-test", messages=ask(RICH)) as stream:
        completion = await stream.get_final_completion()
    assert completion.choices[0].message.content == RICH.text()


async def test_a_broken_completion_goes_on_by_its_stream_id(served: Doors, provider: ProviderServer) -> None:
    script = Script(words=30, delay_ms=5)
    create = served.openai.chat.completions.with_raw_response.create
    raw = await create(model="gpt-test", messages=ask(script), stream=True)
    stream = raw.parse()
    chunk = await anext(aiter(stream))
    await stream.close()
    assert raw.headers["stream-id"] == stream_id_of(chunk.id)
    assert sse.text(await sse.tail(served.http, raw.headers["stream-id"])) == script.text()
    assert len(await provider.calls()) == 1


async def test_broken_at_every_chunk_nothing_is_lost(served: Doors, provider: ProviderServer) -> None:
    create = served.openai.chat.completions.create
    chunks = await events(await create(model="gpt-test", messages=ask(RICH), stream=True))
    for cut in range(len(chunks)):
        stream = await create(model="gpt-test", messages=ask(RICH), stream=True)
        seen = await first_events(stream, cut + 1)
        sent_text = "".join(chunk.choices[0].delta.content or "" for chunk in seen)
        assert RICH.text().startswith(sent_text)  # how it is cut into chunks is the log's own affair
        stream_id = stream_id_of(seen[0].id)
        assert sse.text(await sse.tail(served.http, stream_id)) == RICH.text()
        assert (await served.openai.responses.retrieve(f"resp_{stream_id}")).output_text == RICH.text()
    assert len(await provider.calls()) == 1 + len(chunks)


async def test_a_refusal_and_an_answer_cut_off(served: Doors) -> None:
    create = served.openai.chat.completions.create
    refusal = Script(refuse=True)
    stream = await create(model="gpt-test", messages=ask(refusal), stream=True)
    deltas = [chunk.choices[0].delta for chunk in await events(stream)]
    assert "".join(delta.refusal or "" for delta in deltas) == refusal.refusal()
    whole = await create(model="gpt-test", messages=ask(refusal))
    assert (whole.choices[0].message.refusal, whole.choices[0].finish_reason) == (refusal.refusal(), "stop")
    for finish in ("length", "content_filter"):
        cut = await create(model="groq/chat-test", messages=ask(Script(words=2, finish=finish)))
        assert (cut.choices[0].finish_reason, cut.choices[0].message.content) == (finish, "w0 w1 ")


async def test_a_failure_in_mid_stream_raises_in_the_sdk(served: Doors) -> None:
    script = Script(fail="eof", fail_at=4)
    seen: list[Any] = []
    stream = await served.openai.chat.completions.create(model="groq/m", messages=ask(script), stream=True)
    with pytest.raises(openai.APIError) as failed:
        await events(stream, seen)
    assert failed.value.code == "provider_incomplete"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in seen) == "w0 w1 w2 w3 "


async def test_params_reach_each_provider_in_its_own_words(served: Doors, provider: ProviderServer) -> None:
    """Faces/Params."""
    shape: Any = {"type": "json_schema", "json_schema": {"name": "weather", "schema": {"type": "object"}}}
    options: Any = {"max_tokens": 50, "reasoning_effort": "low", "response_format": shape}
    await served.openai.chat.completions.create(model="gpt-test", messages=ask(Script()), **options)
    options = {"max_tokens": 50, "stop": "END", "user": "u"}
    await served.openai.chat.completions.create(model="anthropic/claude-test", messages=ask(Script()), **options)
    responses, messages = (call["body"] for call in await provider.calls())
    assert responses["text"]["format"] == {"type": "json_schema", **shape["json_schema"]}
    assert (responses["reasoning"], responses["max_output_tokens"]) == ({"effort": "low"}, 50)
    assert (messages["stop_sequences"], messages["metadata"]) == (["END"], {"user_id": "u"})


def test_what_cannot_be_taken_back_becomes_an_error() -> None:
    """Completions/Entries, Faces/Never silent."""
    face = ChatFace("0" * 32, 1_000, "m")
    state = face.begin()
    frames = []
    for offset, entry in enumerate([text("Hel"), Entry("reset", {"reason": "restarting"}), text("Hello")], 1):
        frame, state = face.frame(Stored(offset, 1, encode(entry)), state)
        frames.append(frame)
    assert b'"error"' in frames[1]
    assert frames[2] == b""
