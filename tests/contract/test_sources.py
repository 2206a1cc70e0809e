"""Each real SDK source against a real server: what comes out is what the provider said."""

import re
import sys

import pytest
from pydantic import SecretStr

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from midstream_worker.sources.deltas import Finish, Other, SourceError, Usage
from midstream_worker.sources.providers import Sources
from tests.contract.source_reading import DIALECTS, prompt, read, source_for
from tests.provider.client import ProviderServer

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
responses_only = pytest.mark.parametrize("dialect", ["responses", "background"])


@every_dialect
async def test_the_text_is_the_providers_and_one_call_was_paid(provider: ProviderServer, dialect: str) -> None:
    script = Script(words=30)
    async with source_for(provider, dialect) as source:
        got = await read(source.open(prompt(script)))
    assert got.text == script.text()
    assert got.finish == "stop"
    assert got.upstreams[0].id
    assert len(await provider.calls()) == 1


@every_dialect
async def test_reasoning_and_tool_calls(provider: ProviderServer, dialect: str) -> None:
    script = Script(words=2, reasoning=3, tool=True)
    async with source_for(provider, dialect) as source:
        got = await read(source.open(prompt(script)))
    assert got.reasoning == script.reasoning_text()
    assert got.arguments == script.arguments()
    assert [(call.name, call.arguments) for call in got.calls] == [("get_weather", script.arguments())]
    assert got.finish == "tool_calls"


@every_dialect
async def test_usage_comes_once_and_right_before_the_finish(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        got = await read(source.open(prompt(Script(words=3, reasoning=2))))
    *_, usage, finish = got.content
    assert isinstance(usage, Usage)
    assert (usage.input_tokens, usage.output_tokens) == (7, 5)
    assert finish == Finish("stop")
    assert len(got.usages) == 1


@every_dialect
async def test_a_refusal_is_a_result(provider: ProviderServer, dialect: str) -> None:
    """Entries/Data."""
    script = Script(refuse=True)
    async with source_for(provider, dialect) as source:
        got = await read(source.open(prompt(script)))
    assert got.finish == "refusal"
    if dialect == "anthropic":  # it has no field of its own there
        assert got.text == script.refusal()
    else:
        assert Other("data", {"kind": "refusal", "text": script.refusal()}) in got.deltas


@every_dialect
async def test_a_cut_answer_finishes_by_length(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        got = await read(source.open(prompt(Script(words=3, finish="length"))))
    assert got.finish == "length"


@pytest.mark.parametrize("dialect", ["responses", "background", "chat", "compatible"])
async def test_a_filtered_answer_finishes_by_content_filter(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        got = await read(source.open(prompt(Script(words=3, finish="content_filter"))))
    assert got.finish == "content_filter"


@every_dialect
@pytest.mark.parametrize("split", [False, True])
async def test_every_delta_is_valid_text(provider: ProviderServer, dialect: str, split: bool) -> None:
    script = Script(words=21, tool=True, unicode=True, split=split)
    async with source_for(provider, dialect) as source:
        got = await read(source.open(prompt(script)))
    assert got.text == script.text()
    assert got.arguments == script.arguments()
    for delta in got.deltas:
        repr(delta).encode()
        for value in (getattr(delta, "text", ""), getattr(delta, "delta", "")):
            value.encode()


@responses_only
async def test_citations_become_sources(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        got = await read(source.open(prompt(Script(words=2, cite=True))))
    cited = [delta.data for delta in got.deltas if isinstance(delta, Other) and delta.type == "source"]
    assert [(source_["url"], source_["title"]) for source_ in cited] == [("https://example.com/a", "A page")]


@every_dialect
async def test_only_background_responses_are_resumable(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        got = await read(source.open(prompt(Script(words=2))))
    assert source.resumable == (dialect == "background")
    assert all(upstream.resumable == source.resumable for upstream in got.upstreams)
    assert source.paid


def test_a_key_of_a_provider_whose_extra_is_not_there_ends_no_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a key may stand in the environment for another program; a request for a model says what is missing."""
    monkeypatch.setitem(sys.modules, "google.genai", None)
    sources = Sources(Settings(gemini_api_key=SecretStr("key")))
    sources.warm()
    assert "midstream[gemini]" in caplog.text
    with pytest.raises(SourceError, match=re.escape("midstream[gemini]")):
        sources.get("gemini/any")
