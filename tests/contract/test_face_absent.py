"""Token counts come from the provider (PROTOCOL: Faces/Counting), and what is not here says so (Faces/Absent)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anthropic
import openai
import pytest
from pydantic import SecretStr

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests.contract.sdk_clients import Doors, ask, doors, on_provider
from tests.provider.client import ProviderServer


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


async def test_openai_counts(served: Doors, provider: ProviderServer) -> None:
    count = served.openai.responses.input_tokens.count
    alone = await count(model="gpt-test", input="x", instructions="Be brief.")
    first = await served.openai.responses.create(model="gpt-test", input=ask(Script(words=3)))
    second = await count(model="gpt-test", previous_response_id=first.id, input="x")
    assert second.input_tokens > alone.input_tokens > 0
    body = (await provider.requests())[-1]["body"]
    assert [item["content"][0]["text"] for item in body["input"][1:]] == [Script(words=3).text(), "x"]
    with pytest.raises(openai.BadRequestError, match="Unknown parameter: 'stop'"):
        await count(model="gpt-test", input="x", extra_body={"stop": "END"})
    with pytest.raises(openai.NotFoundError, match="counted by the model's provider"):
        await count(model="groq/chat-test", input="x")


async def test_anthropic_counts(served: Doors) -> None:
    count = served.anthropic.messages.count_tokens
    question: Any = [{"role": "user", "content": "x"}]
    assert (await count(model="claude-test", messages=question, system="Be brief.")).input_tokens > 0
    with pytest.raises(anthropic.BadRequestError, match="seed: Extra inputs are not permitted"):
        await count(model="claude-test", messages=question, extra_body={"seed": 1})
    with pytest.raises(anthropic.NotFoundError, match="counted by the model's provider"):
        await count(model="openai/gpt-test", messages=question)


async def test_a_provider_that_is_away_is_told(settings: Settings) -> None:
    key, nowhere = SecretStr("sk-test-0123456789abcdef"), "http://127.0.0.1:9/v1"
    away = settings.model_copy(update={"openai_api_key": key, "openai_base_url": nowhere})
    async with doors(away, worker=False) as served:
        with pytest.raises(openai.InternalServerError, match="could not be reached") as failed:
            await served.openai.responses.input_tokens.count(model="gpt-test", input="x")
    assert (failed.value.status_code, failed.value.code) == (502, "provider_unreachable")


OF_OPENAI: dict[str, Callable[[openai.AsyncOpenAI], Awaitable[Any]]] = {
    "Embeddings": lambda sdk: sdk.embeddings.create(model="m", input="x"),
    "Files": lambda sdk: sdk.files.create(file=b"x", purpose="user_data"),
    "Files are": lambda sdk: sdk.files.retrieve("file-1"),
    "Batches": lambda sdk: sdk.batches.retrieve("batch_1"),
    "conversations": lambda sdk: sdk.conversations.create(),
    "moderated": lambda sdk: sdk.moderations.create(input="x"),
    "Images": lambda sdk: sdk.images.generate(prompt="x"),
    "Audio": lambda sdk: sdk.audio.transcriptions.create(file=b"x", model="m"),
    "vector": lambda sdk: sdk.vector_stores.create(),
    "without messages": lambda sdk: sdk.completions.create(model="m", prompt="x"),
}
OF_ANTHROPIC: dict[str, Callable[[anthropic.AsyncAnthropic], Awaitable[Any]]] = {
    "Batches": lambda sdk: sdk.messages.batches.retrieve("msgbatch_1"),
    "Files": lambda sdk: sdk.beta.files.retrieve_metadata("file_1"),
}


@pytest.mark.parametrize("words", OF_OPENAI)
async def test_what_openai_has_besides_is_told(served: Doors, words: str) -> None:
    with pytest.raises(openai.NotFoundError, match=words) as refused:
        await OF_OPENAI[words](served.openai)
    assert (refused.value.code, refused.value.type) == ("not_found", "invalid_request_error")


@pytest.mark.parametrize("words", OF_ANTHROPIC)
async def test_what_anthropic_has_besides_is_told(served: Doors, words: str) -> None:
    with pytest.raises(anthropic.NotFoundError, match=words) as refused:
        await OF_ANTHROPIC[words](served.anthropic)
    assert refused.value.type == "not_found_error"
