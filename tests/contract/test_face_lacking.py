"""Params that one dialect has and another lacks (PROTOCOL: Faces/Lacking)."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests.contract.sdk_clients import Doors, ask, doors, on_provider, stream_id_of
from tests.provider.client import ProviderServer

Json = dict[str, Any]


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    fetching = settings.model_copy(update={"remote_files": "openai,groq"})
    async with doors(on_provider(fetching, provider)) as served:
        yield served


OF_CHAT: list[Json] = [
    {"stop": "END"},
    {"seed": 0},
    {"presence_penalty": 0.5},
    {"frequency_penalty": -1.0},
    {"logit_bias": {"50256": -100}},
]


@pytest.mark.parametrize("options", OF_CHAT, ids=lambda options: next(iter(options)))
async def test_chat_completions_run_what_responses_cannot(
    served: Doors, provider: ProviderServer, options: Json
) -> None:
    answer = await served.openai.chat.completions.with_raw_response.create(
        model="gpt-test", messages=ask(Script()), max_tokens=50, **options
    )
    assert answer.headers["stream-reattach"] == f"no; because={next(iter(options))}"
    assert answer.parse().choices[0].message.content == Script().text()
    (call,) = await provider.calls()
    assert (call["api"], call["body"] | options, call["body"]["max_completion_tokens"]) == ("chat", call["body"], 50)


async def test_stop_sequences_do_as_well(served: Doors, provider: ProviderServer) -> None:
    async with served.anthropic.messages.with_streaming_response.create(
        model="openai/gpt-test", max_tokens=50, messages=ask(Script()), stop_sequences=["END"], stream=True
    ) as answer:
        assert answer.headers["stream-reattach"] == "no; because=stop_sequences"
        await answer.read()
    (call,) = await provider.calls()
    assert (call["api"], call["body"]["stop"]) == ("chat", ["END"])


async def test_what_asks_for_nothing_runs_by_responses(served: Doors, provider: ProviderServer) -> None:
    nothing: Json = {"stop": None, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "seed": None}
    for model in ("gpt-test", "anthropic/claude-test"):
        answer = await served.openai.chat.completions.with_raw_response.create(
            model=model, messages=ask(Script()), **nothing
        )
        assert "stream-reattach" not in answer.headers
    assert [call["api"] for call in await provider.calls()] == ["responses", "messages"]


@pytest.mark.parametrize("options", OF_CHAT[1:], ids=lambda options: next(iter(options)))
async def test_anthropics_models_lack_some(served: Doors, provider: ProviderServer, options: Json) -> None:
    (name,) = options
    with pytest.raises(openai.BadRequestError, match="no parameter of Anthropic's") as refused:
        await served.openai.chat.completions.create(model="anthropic/claude-test", messages=ask(Script()), **options)
    assert (refused.value.param, refused.value.code) == (name, "unsupported_parameter")
    assert await provider.requests() == []


async def test_openais_models_lack_top_k(served: Doors, provider: ProviderServer) -> None:
    request: Any = {"max_tokens": 50, "messages": ask(Script()), "extra_body": {"top_k": 5}}
    with pytest.raises(anthropic.BadRequestError, match="'top_k' is no parameter of OpenAI's"):
        await served.anthropic.messages.create(model="openai/gpt-test", **request)
    assert await provider.requests() == []
    await served.anthropic.messages.create(model="claude-test", **request)
    assert (await provider.calls())[0]["body"]["top_k"] == 5


async def test_a_tool_of_responses_beside_a_param_of_chat(served: Doors, provider: ProviderServer) -> None:
    with pytest.raises(openai.BadRequestError, match="leave one of them out") as refused:
        await served.openai.responses.create(
            model="gpt-test", input=ask(Script()), tools=[{"type": "web_search"}], extra_body={"stop": "END"}
        )
    assert refused.value.param == "stop"
    assert await provider.requests() == []


@pytest.mark.parametrize("door", ["responses", "chat"])
async def test_metadata_goes_where_answers_are_stored(served: Doors, provider: ProviderServer, door: str) -> None:
    note = {"order": "17"}
    for model in ("gpt-test", "groq/chat-test", "anthropic/claude-test"):
        if door == "chat":
            await served.openai.chat.completions.create(model=model, messages=ask(Script()), metadata=note)
        else:
            response = await served.openai.responses.create(model=model, input=ask(Script()), metadata=note)
            assert response.metadata == note
    bodies = [call["body"].get("metadata") for call in await provider.calls()]
    assert bodies == [note, None, None]


async def test_completions_stored_at_openai_have_metadata(settings: Settings, provider: ProviderServer) -> None:
    async with doors(on_provider(settings, provider, openai_dialect="chat")) as served:
        for store in (True, False):
            await served.openai.chat.completions.create(
                model="gpt-test", messages=ask(Script()), metadata={"order": "17"}, store=store
            )
    stored, unstored = (call["body"] for call in await provider.calls())
    assert (stored["store"], stored["metadata"]) == (True, {"order": "17"})
    assert not {"store", "metadata"} & set(unstored)


async def test_anthropics_user_is_told_to_others(served: Doors, provider: ProviderServer) -> None:
    for model in ("claude-test", "groq/chat-test"):
        await served.anthropic.messages.create(
            model=model, max_tokens=50, messages=ask(Script()), metadata={"user_id": "u-1"}
        )
    of_anthropic, of_groq = (call["body"] for call in await provider.calls())
    assert (of_anthropic["metadata"], of_groq["user"]) == ({"user_id": "u-1"}, "u-1")


async def test_an_image_keeps_its_detail(served: Doors, provider: ProviderServer) -> None:
    url = "https://example.com/i.png"
    of_chat: Any = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    of_responses: Any = {"type": "input_image", "image_url": url, "detail": "low"}
    question: Any = [{"role": "user", "content": [of_chat]}]
    completion = await served.openai.chat.completions.create(model="gpt-test", messages=question)
    await served.openai.responses.create(model="groq/m", input=[{"role": "user", "content": [of_responses]}])
    by_responses, by_chat = (call["body"] for call in await provider.calls())
    assert by_responses["input"][0]["content"] == [of_responses]
    assert by_chat["messages"][0]["content"] == [of_chat]
    listed = await served.openai.responses.input_items.list(f"resp_{stream_id_of(completion.id)}")
    assert listed.data[0].content[0].detail == "low"  # type: ignore[union-attr, index]
