"""What a tool gave, across dialects: its images stay images, and an error stays one (PROTOCOL: Faces/Results)."""

from typing import Any

import pytest

from midstream_worker.sources.source import Prompt
from tests.contract.source_reading import read, source_for
from tests.provider.client import ProviderServer

Json = dict[str, Any]

IMAGE = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
URL = "data:image/png;base64,AAAA"
QUESTION: Json = {"role": "user", "content": "Hi"}


def of_anthropic(**marks: Any) -> list[Json]:
    """Return a history in which two calls gave an image each."""
    calls: list[Json] = [{"type": "tool_use", "id": name, "name": "look", "input": {}} for name in ("c1", "c2")]
    parts = [{"type": "text", "text": "seen"}, {"type": "image", "source": IMAGE}]
    results = [{"type": "tool_result", "tool_use_id": name, "content": parts, **marks} for name in ("c1", "c2")]
    return [QUESTION, {"role": "assistant", "content": calls}, {"role": "user", "content": results}, QUESTION]


def of_responses() -> list[Json]:
    """Return the same in the words of Responses, whose results are items of their own."""
    calls = [{"type": "function_call", "call_id": name, "name": "look", "arguments": "{}"} for name in ("c1", "c2")]
    parts = [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": URL, "detail": "auto"}]
    results = [{"type": "function_call_output", "call_id": name, "output": parts} for name in ("c1", "c2")]
    return [QUESTION, *calls, *results, QUESTION]


async def sent(provider: ProviderServer, dialect: str, messages: list[Json]) -> Json:
    """Return the body that the provider was sent, and took."""
    async with source_for(provider, dialect) as source:
        await read(source.open(Prompt("model-test", messages, {})))
    (call,) = await provider.calls()
    body: Json = call["body"]
    return body


async def test_images_reach_responses(provider: ProviderServer) -> None:
    body = await sent(provider, "responses", of_anthropic())
    assert body["input"] == of_responses()


async def test_images_reach_anthropic(provider: ProviderServer) -> None:
    body = await sent(provider, "anthropic", of_responses())
    assert body["messages"] == of_anthropic()


@pytest.mark.parametrize("messages", [of_anthropic(), of_responses()], ids=["anthropic", "responses"])
async def test_images_follow_the_results_of_a_completion(provider: ProviderServer, messages: list[Json]) -> None:
    body = await sent(provider, "compatible", messages)
    *_, first, second, of_first, of_second, last = body["messages"]
    for message, name in ((first, "c1"), (second, "c2")):
        assert message == {"role": "tool", "tool_call_id": name, "content": "seen"}
    for message, name in ((of_first, "c1"), (of_second, "c2")):
        lead, image = message["content"]
        assert (message["role"], name in lead["text"]) == ("user", True)
        assert image == {"type": "image_url", "image_url": {"url": URL}}
    assert last == QUESTION


@pytest.mark.parametrize("dialect", ["responses", "compatible", "anthropic"])
async def test_an_error_is_told(provider: ProviderServer, dialect: str) -> None:
    body = await sent(provider, dialect, of_anthropic(is_error=True))
    match dialect:
        case "anthropic":
            assert body["messages"] == of_anthropic(is_error=True)
        case "responses":
            assert body["input"][3]["output"][0] == {"type": "input_text", "text": "Error: "}
        case _:
            assert [it["content"] for it in body["messages"] if it["role"] == "tool"] == ["Error: seen"] * 2


@pytest.mark.parametrize("dialect", ["responses", "compatible"])
async def test_an_error_in_words_is_told(provider: ProviderServer, dialect: str) -> None:
    call = {"type": "tool_use", "id": "c1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "no such file", "is_error": True}
    history = [QUESTION, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    body = await sent(provider, dialect, history)
    assert "Error: no such file" in str(body)
