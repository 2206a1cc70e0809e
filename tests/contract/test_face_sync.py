"""The synchronous SDK clients at every door; they block their thread, so the broker runs in another one's loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anthropic
import httpx2
import openai
import pytest

from midstream.settings import Settings
from midstream.testing.provider.messages_api import signature
from midstream.testing.provider.script import Script
from tests.contract.sdk_clients import Doors, LosesAnswers, ask, doors, on_provider, stream_id_of
from tests.provider.client import ProviderServer

RICH = Script(words=6, reasoning=3, tool=True, unicode=True, split=True)
Result = TypeVar("Result")


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


@contextmanager
def of_openai(url: str, **further: Any) -> Iterator[openai.OpenAI]:
    options: dict[str, Any] = {"max_retries": 0, "_strict_response_validation": True, **further}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", **options) as client:
        yield client


@contextmanager
def of_anthropic(url: str, **further: Any) -> Iterator[anthropic.Anthropic]:
    options: dict[str, Any] = {"max_retries": 0, "_strict_response_validation": True, **further}
    with anthropic.Anthropic(base_url=url, api_key="any", **options) as client:
        yield client


async def blocking(act: Callable[[str], Result], served: Doors) -> Result:
    """Run what a synchronous client does in a thread of its own."""
    return await asyncio.to_thread(act, served.url)


async def test_responses(served: Doors, provider: ProviderServer) -> None:
    def act(url: str) -> None:
        with of_openai(url) as client:
            with client.responses.create(model="gpt-test", input=ask(RICH), stream=True) as stream:
                received = list(stream)
            assert [event.sequence_number for event in received] == list(range(len(received)))
            final = received[-1].response  # type: ignore[union-attr]
            whole = client.responses.create(model="gpt-test", input=ask(RICH))
            for response in (final, whole, client.responses.retrieve(whole.id)):
                reasoning, message, call = (item.model_dump() for item in response.output)
                assert reasoning["summary"][0]["text"] == RICH.reasoning_text()
                assert message["content"][0]["text"] == response.output_text == RICH.text()
                assert call["arguments"] == RICH.arguments()
            for cut in range(0, len(received), 5):
                rest = list(client.responses.retrieve(final.id, stream=True, starting_after=cut))
                assert received[: cut + 1] + rest == received
            with client.responses.stream(response_id=final.id) as helper:
                helper.until_done()
                assert helper.get_final_response().output_text == RICH.text()
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(f"resp_{'0' * 32}")

    await blocking(act, served)
    assert len(await provider.calls()) == 2


@pytest.mark.parametrize("model", ["gpt-test", "groq/chat-test", "anthropic/claude-test"])
async def test_completions(served: Doors, model: str) -> None:
    def act(url: str) -> None:
        with of_openai(url) as client:
            create = client.chat.completions.create
            with client.chat.completions.stream(model=model, messages=ask(RICH)) as helper:
                helped = helper.get_final_completion()
            whole = create(model=model, messages=ask(RICH))
            for completion in (helped, whole):
                message: Any = completion.choices[0].message
                assert (message.content, message.reasoning_content) == (RICH.text(), RICH.reasoning_text())
                assert message.tool_calls[0].function.arguments == RICH.arguments()
            assert whole.choices[0].finish_reason == "tool_calls"
            with client.chat.completions.with_streaming_response.create(
                model=model, messages=ask(RICH), stream=True
            ) as raw:
                lines = [line for line in raw.iter_lines() if line]
                stream_id = raw.headers["stream-id"]
            assert lines[-1] == "data: [DONE]"
            assert client.responses.retrieve(f"resp_{stream_id}").output_text == RICH.text()
            parsed = client.chat.completions.with_raw_response.create(model=model, messages=ask(RICH))
            assert stream_id_of(parsed.parse().id) == parsed.headers["stream-id"]

    await blocking(act, served)


async def test_a_completion_that_fails(served: Doors) -> None:
    def act(url: str) -> None:
        broken = ask(Script(fail="error_event", fail_at=2))
        with of_openai(url) as client:
            seen: list[str] = []
            stream = client.chat.completions.create(model="groq/m", messages=broken, stream=True)
            with pytest.raises(openai.APIError) as failed:
                seen.extend(chunk.choices[0].delta.content or "" for chunk in stream)
            assert ("".join(seen), failed.value.code) == ("w0 w1 ", "provider_error")
            with pytest.raises(openai.InternalServerError) as refused:
                client.chat.completions.create(model="groq/m", messages=broken)
            assert (refused.value.status_code, refused.value.code) == (502, "provider_error")
            limited = ask(Script(fail="status", status=429, retry_after=60))
            with pytest.raises(openai.RateLimitError):
                client.chat.completions.create(model="groq/m", messages=limited)
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model="demo/none", messages=broken)

    await blocking(act, served)


async def test_messages(served: Doors) -> None:
    def act(url: str) -> None:
        request: Any = {"model": "claude-test", "max_tokens": 99, "messages": ask(RICH)}
        with of_anthropic(url) as client:
            with client.messages.stream(**request) as helper:
                helped = helper.get_final_message()
            whole = client.messages.create(**request)
            for message in (helped, whole):
                thinking, text, tool = (block.model_dump() for block in message.content)
                assert (thinking["thinking"], thinking["signature"]) == (RICH.reasoning_text(), signature(0))
                assert (text["text"], tool["input"]) == (RICH.text(), {"city": "Zürich 😀", "words": 6})
                assert message.stop_reason == "tool_use"
            with client.messages.create(**request, stream=True) as stream:
                kinds = [event.type for event in stream]
            assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
            with client.messages.with_streaming_response.create(**request) as raw:
                assert raw.headers["stream-id"] == stream_id_of(raw.parse().id)

    await blocking(act, served)


async def test_a_message_that_fails(served: Doors) -> None:
    def act(url: str) -> None:
        broken: Any = {"model": "claude-test", "max_tokens": 9, "messages": ask(Script(fail="error_event", fail_at=2))}
        with of_anthropic(url) as client:
            seen: list[str] = []
            stream = client.messages.create(**broken, stream=True)
            with pytest.raises(anthropic.APIStatusError) as failed:
                seen.extend(event.type for event in stream)
            assert failed.value.type == "overloaded_error"
            assert seen[-1] == "content_block_delta"
            with pytest.raises(anthropic.APIStatusError) as refused:
                client.messages.create(**broken)
            assert (refused.value.status_code, refused.value.type) == (503, "overloaded_error")
            with pytest.raises(anthropic.BadRequestError):
                client.messages.create(model="claude-test", max_tokens=0, messages=ask(RICH))

    await blocking(act, served)


SCRIPT = Script(words=20, delay_ms=5)


@pytest.mark.parametrize("lost", ["500", "timeout"])
@pytest.mark.parametrize("door", ["responses", "chat", "messages"])
async def test_a_retry_is_not_paid_again(served: Doors, provider: ProviderServer, door: str, lost: str) -> None:
    transport = LosesAnswers([lost])

    def act(url: str) -> str:
        with httpx2.Client(transport=transport) as http:
            further: dict[str, Any] = {"max_retries": 2, "http_client": http}
            if door == "messages":
                with of_anthropic(url, **further) as client:
                    created: Any = client.messages.create(model="claude-test", max_tokens=9, messages=ask(SCRIPT))
                    return str(created.content[0].text)
            with of_openai(url, **further) as of:
                if door == "responses":
                    return of.responses.create(model="gpt-test", input=ask(SCRIPT)).output_text
                return str(
                    of.chat.completions.create(model="gpt-test", messages=ask(SCRIPT)).choices[0].message.content
                )

    assert await blocking(act, served) == SCRIPT.text()
    assert transport.sent == 2
    assert len(await provider.calls()) == 1
