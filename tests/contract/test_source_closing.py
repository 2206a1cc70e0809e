"""Closing a source's iterator closes the upstream connection at once (I8 clean): nobody pays for unread words."""

import asyncio
from contextlib import aclosing

import pytest

from midstream.testing.provider.script import Script
from midstream_worker.sources.deltas import SourceError, Text
from tests.contract.source_reading import DIALECTS, Read, prompt, read, source_for
from tests.provider.client import ProviderServer

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
ENDLESS = Script(words=1_000_000, delay_ms=1)


@every_dialect
async def test_closing_the_iterator_closes_the_connection(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        async with aclosing(source.open(prompt(ENDLESS))) as deltas:
            async for delta in deltas:
                if isinstance(delta, Text):
                    break
        async with asyncio.timeout(2):
            call = await provider.ended()
    assert call["connection"] == "client_closed"


@every_dialect
async def test_cancelling_the_reader_closes_the_connection(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        got, begun = Read([]), asyncio.Event()

        async def reader() -> None:
            async with aclosing(source.open(prompt(ENDLESS))) as deltas:
                async for delta in deltas:
                    got.deltas.append(delta)
                    if isinstance(delta, Text):
                        begun.set()

        task = asyncio.create_task(reader())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            call = await provider.ended()
    assert call["connection"] == "client_closed"
    assert ENDLESS.text().startswith(got.text)


@every_dialect
async def test_cancelling_before_the_headers_closes_the_connection(provider: ProviderServer, dialect: str) -> None:
    async with source_for(provider, dialect) as source:
        task = asyncio.create_task(read(source.open(prompt(Script(fail="stall", fail_at=-1)))))
        await provider.begun()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            call = await provider.ended()
    assert call["connection"] == "client_closed"


async def test_a_cancelled_background_response_stops_at_the_provider(provider: ProviderServer) -> None:
    async with source_for(provider, "background") as source:
        got = Read([])
        async with aclosing(source.open(prompt(ENDLESS))) as deltas:
            async for delta in deltas:
                got.deltas.append(delta)
                if isinstance(delta, Text):
                    break
        upstream = got.upstreams[-1]
        await source.cancel(upstream.id)
        with pytest.raises(SourceError, match="cancelled") as caught:
            await read(source.reattach(upstream.id, upstream.cursor, got.text))
    assert (caught.value.code, caught.value.retry) == ("provider_error", "ambiguous")


async def test_cancelling_a_response_that_is_gone_is_a_failure(provider: ProviderServer) -> None:
    async with source_for(provider, "background") as source:
        with pytest.raises(SourceError) as caught:
            await source.cancel("resp_gone")
    assert caught.value.code == "provider_bad_request"
