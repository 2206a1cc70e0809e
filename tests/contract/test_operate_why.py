"""The sentence about streams of a provider that refuses, falls silent, or is never asked (PROTOCOL: Operate/Why)."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
from pydantic import SecretStr

from midstream.operate import why
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import inside
from tests.provider.client import ProviderServer

REFUSED = Script(fail="status", status=429, fail_at=-1, retry_after=1, fail_times=1, words=2)
REFUSED_FOR_LONG = Script(fail="status", status=429, fail_at=-1, retry_after=600)
SILENT = Script(fail="stall", fail_at=2)


@pytest.fixture
def settings(settings: Settings, provider: ProviderServer) -> Settings:
    openai = {"openai_api_key": SecretStr("sk-test"), "openai_base_url": provider.openai_url}
    return settings.model_copy(update=openai)


@pytest.fixture
async def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    monkeypatch.setattr(why, "SILENT_MS", 50)
    async with inside.broker(settings) as asking, inside.worker(settings):
        yield asking


async def start(client: httpx2.AsyncClient, script: Script) -> str:
    body = {"model": "openai/gpt-5.4", "input": directive(script)}
    return str((await client.post("/v1/streams", json=body)).json()["id"])


async def sentence(client: httpx2.AsyncClient, stream_id: str, part: str) -> str:
    """Return the first sentence about a stream that has this part."""
    made = ""
    try:
        async with asyncio.timeout(5):
            while part not in made:
                made = (await client.get(f"/v1/operate/streams/default/{stream_id}")).json()["why"]
    except TimeoutError:
        pytest.fail(f"{part!r} is not in {made!r}")
    return made


async def test_a_provider_that_refuses_for_now(client: httpx2.AsyncClient) -> None:
    """Operate/Why."""
    stream_id = await start(client, REFUSED)
    made = await sentence(client, stream_id, "is retrying")
    assert "after 429 (provider_rate_limited) it makes call 2 in " in made
    await client.get(f"/v1/streams/{stream_id}?wait=10")
    assert await sentence(client, stream_id, "It completed in ")
    report = (await client.get(f"/v1/operate/streams/default/{stream_id}")).json()
    assert (report["retries"], report["usage"]["output_tokens"] > 0) == (1, True)


async def test_a_provider_that_refuses_for_good(client: httpx2.AsyncClient) -> None:
    """Operate/Why."""
    stream_id = await start(client, REFUSED_FOR_LONG)
    await client.get(f"/v1/streams/{stream_id}?wait=10")
    made = await sentence(client, stream_id, "It failed after ")
    assert "because the provider answered 429, too many requests (provider_rate_limited)" in made


async def test_a_provider_that_falls_silent(client: httpx2.AsyncClient) -> None:
    """Operate/Why."""
    stream_id = await start(client, SILENT)
    made = await sentence(client, stream_id, "has been silent for ")
    assert made.startswith("openai/gpt-5.4 has been silent for ")
    assert "it ends as failed (idle_timeout)" in made
    await client.post(f"/v1/streams/{stream_id}/cancel")
    await client.get(f"/v1/streams/{stream_id}?wait=10")
    assert await sentence(client, stream_id, "It was cancelled after ")
