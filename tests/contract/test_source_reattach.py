"""A background response is read on, gaplessly, from every position, and is never paid for again (I4 paid once)."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import openai
import pytest

from midstream.testing.provider.script import Script
from midstream_worker.sources.deltas import Other, SourceError, Upstream
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.openai_responses import OpenAIResponses
from tests.contract.source_reading import Read, prompt, read, source_for
from tests.provider.client import ProviderServer

EVERYTHING = Script(words=14, reasoning=3, tool=True, unicode=True, split=True, cite=True)


async def test_it_goes_on_gaplessly_from_every_cursor(provider: ProviderServer) -> None:
    async with source_for(provider, "background") as source:
        whole = await read(source.open(prompt(EVERYTHING)))
        assert len(whole.upstreams) > 14
        for number, delta in enumerate(whole.deltas):
            if not isinstance(delta, Upstream):
                continue
            before = Read(whole.deltas[: number + 1])
            rest = await read(source.reattach(delta.id, delta.cursor, before.text))
            assert before.content + rest.content == whole.content, f"from cursor {delta.cursor}"
    assert len(await provider.calls()) == 1


async def test_without_a_cursor_it_reads_from_the_start(provider: ProviderServer) -> None:
    async with source_for(provider, "background") as source:
        whole = await read(source.open(prompt(EVERYTHING)))
        again = await read(source.reattach(whole.upstreams[0].id, None, ""))
    assert again.deltas == whole.deltas


async def test_every_content_delta_is_followed_by_its_cursor(provider: ProviderServer) -> None:
    async with source_for(provider, "background") as source:
        whole = await read(source.open(prompt(Script(words=5))))
    kinds = [type(delta).__name__ for delta in whole.deltas]
    assert kinds == ["Upstream", *["Text", "Upstream"] * 5, "Usage", "Finish"]
    cursors = [upstream.cursor for upstream in whole.upstreams if upstream.cursor is not None]
    assert cursors == sorted(set(cursors))


@pytest.mark.parametrize("fail", ["reset", "eof", "garbage"])
async def test_a_cut_answer_is_read_on_in_place(provider: ProviderServer, fail: str) -> None:
    """Recovery/In place."""
    script = replace(EVERYTHING, delay_ms=2, fail=fail, fail_at=10, fail_times=2)
    async with source_for(provider, "background") as source:
        got = await read(source.open(prompt(script)))
    assert (got.text, got.arguments, got.finish) == (script.text(), script.arguments(), "tool_calls")
    status = [delta.data for delta in got.deltas if isinstance(delta, Other) and delta.type == "status"]
    assert [(data["state"], data["paid"]) for data in status] == [("reattaching", False)] * 2
    assert [call["api"] for call in await provider.requests()] == ["responses", "retrieve", "retrieve"]
    assert len(await provider.calls()) == 1


async def test_a_response_that_is_always_cut_is_given_up(provider: ProviderServer) -> None:
    """Recovery/In place."""
    client = openai.AsyncOpenAI(api_key="none", base_url=provider.openai_url, max_retries=0)
    failures = Failures(openai, "openai", [])
    source = OpenAIResponses(
        client, failures, background=True, max_output_bytes=100_000, reattach_pauses_s=(0.01, 0.01)
    )
    got = Read([])
    try:
        with pytest.raises(SourceError) as caught:
            await read(source.open(prompt(Script(words=20, fail="reset", fail_at=3))), got)
    finally:
        await source.aclose()
    assert (caught.value.code, got.text) == ("provider_disconnected", "w0 w1 w2 ")
    assert [call["api"] for call in await provider.requests()] == ["responses", "retrieve", "retrieve"]


async def test_a_response_that_failed_itself_is_not_read_again(provider: ProviderServer) -> None:
    """Recovery/In place."""
    async with source_for(provider, "background") as source:
        for fail in ("error_event", "failed_event"):
            with pytest.raises(SourceError):
                await read(source.open(prompt(Script(words=5, fail=fail, fail_at=2))))
    assert [call["api"] for call in await provider.requests()] == ["responses"] * 2


async def test_closing_a_reattached_reader_closes_its_connection(provider: ProviderServer) -> None:
    script = Script(words=1_000_000, delay_ms=1)
    async with source_for(provider, "background") as source:
        async with aclosing(source.open(prompt(script))) as deltas:
            first = await anext(deltas)
        assert isinstance(first, Upstream)
        async with aclosing(source.reattach(first.id, first.cursor, "")) as deltas:
            await anext(deltas)
        async with asyncio.timeout(2):
            call = await provider.ended(1)
    assert (call["api"], call["connection"]) == ("retrieve", "client_closed")


@pytest.mark.parametrize("delivered_words", [0, 3, 14])
async def test_a_response_too_old_to_stream_is_completed_from_its_output(
    provider: ProviderServer, delivered_words: int
) -> None:
    script = Script(words=14, unicode=True, max_age_ms=0)
    async with source_for(provider, "background") as source:
        whole = await read(source.open(prompt(script)))
        texts = [index for index, delta in enumerate(whole.deltas) if delta in whole.content]
        before = Read(whole.deltas[: texts[delivered_words]])
        rest = await read(source.reattach(whole.upstreams[0].id, 3, before.text))
    assert before.text + rest.text == script.text()
    assert rest.usages == whole.usages
    assert rest.finish == "stop"


async def test_a_running_response_too_old_to_stream_is_waited_for(provider: ProviderServer) -> None:
    script = Script(words=20, delay_ms=15, max_age_ms=0)
    client = openai.AsyncOpenAI(api_key="none", base_url=provider.openai_url, max_retries=0)
    source = OpenAIResponses(
        client, Failures(openai, "openai", []), background=True, max_output_bytes=100_000, poll_s=0.05
    )
    try:
        async with aclosing(source.open(prompt(script))) as deltas:
            first = await anext(deltas)
        assert isinstance(first, Upstream)
        rest = await read(source.reattach(first.id, first.cursor, ""))
    finally:
        await source.aclose()
    assert rest.text == script.text()
    assert len(rest.upstreams) > 1, "a sign of life for each look"
    assert rest.finish == "stop"


@pytest.mark.parametrize("tool", [False, True])
async def test_an_old_response_that_does_not_fit_is_a_mismatch(provider: ProviderServer, tool: bool) -> None:
    delivered = "" if tool else "something else"
    async with source_for(provider, "background") as source:
        whole = await read(source.open(prompt(Script(words=3, tool=tool, max_age_ms=0))))
        with pytest.raises(SourceError) as caught:
            await read(source.reattach(whole.upstreams[0].id, 3, delivered))
    assert (caught.value.code, caught.value.retry) == ("reattach_mismatch", "never")


async def test_an_old_response_that_failed_fails(provider: ProviderServer) -> None:
    script = Script(words=3, fail="failed_event", fail_at=1, max_age_ms=0)
    got = Read([])
    async with source_for(provider, "background") as source:
        with pytest.raises(SourceError):
            await read(source.open(prompt(script)), got)
        with pytest.raises(SourceError) as caught:
            await read(source.reattach(got.upstreams[0].id, 3, got.text))
    assert caught.value.code == "provider_error"


async def test_a_response_that_is_gone_is_a_failure(provider: ProviderServer) -> None:
    async with source_for(provider, "background") as source:
        with pytest.raises(SourceError) as caught:
            await read(source.reattach("resp_gone", 3, ""))
    assert (caught.value.code, caught.value.retry) == ("provider_bad_request", "never")


@pytest.mark.parametrize("dialect", ["responses", "chat", "compatible", "anthropic"])
async def test_other_sources_say_that_they_cannot(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        with pytest.raises(SourceError) as caught:
            await read(source.reattach("some-id", 3, ""))
        await source.cancel("some-id")
    assert caught.value.code == "reattach_unsupported"
    assert await provider.requests() == []
