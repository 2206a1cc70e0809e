"""A worker killed and a broker stopped under the SDKs' eyes: they end complete or with a failure, never silently."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.contract.faces_support import ask, events, stream_id_of
from tests.provider.client import ProviderServer
from tests.provider.script import Script
from tests.system import System, stop

SCRIPT = Script(words=60, delay_ms=25)


@pytest.fixture
async def system(redis_url: str, provider: ProviderServer, tmp_path: Path) -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, provider.url, flush_ms=0) as system:
        yield await system.start(workers=2)


@asynccontextmanager
async def sdks(system: System) -> AsyncIterator[tuple[openai.AsyncOpenAI, anthropic.AsyncAnthropic]]:
    async with (
        openai.AsyncOpenAI(base_url=f"{system.url}/v1", api_key="any", max_retries=0) as of_openai,
        anthropic.AsyncAnthropic(base_url=system.url, api_key="any", max_retries=0) as of_anthropic,
    ):
        yield of_openai, of_anthropic


async def kill_workers(system: System) -> None:
    """Kill both workers, so that whichever has the stream dies, and start another."""
    for worker in system.workers:
        await stop(worker, signal.SIGKILL)
    await system.start_worker()


async def after_some(stream: Any, count: int) -> list[Any]:
    """Read the first events of a stream."""
    return [await anext(stream) for _ in range(count)]


async def test_a_killed_worker_is_not_noticed_where_the_provider_can_be_read_again(
    system: System, provider: ProviderServer
) -> None:
    async with sdks(system) as (client, _):
        stream = await client.responses.create(model="gpt-test", input=ask(SCRIPT), stream=True)
        seen = await after_some(stream, 12)
        await kill_workers(system)
        seen += await events(stream)
        assert [event.sequence_number for event in seen] == list(range(len(seen)))
        assert (seen[-1].type, seen[-1].response.output_text) == ("response.completed", SCRIPT.text())
        async with client.responses.stream(response_id=seen[0].response.id) as helper:
            assert (await helper.get_final_response()).output_text == SCRIPT.text()
    assert len(await provider.calls()) == 1


async def test_a_killed_worker_is_a_failure_where_it_cannot(system: System, provider: ProviderServer) -> None:
    async with sdks(system) as (client, messages):
        response = await client.responses.create(model="anthropic/claude-test", input=ask(SCRIPT), stream=True)
        completion = await client.chat.completions.create(
            model="anthropic/claude-test", messages=ask(SCRIPT), stream=True
        )
        message = await messages.messages.create(model="claude-test", max_tokens=9, messages=ask(SCRIPT), stream=True)
        for stream in (response, completion, message):
            await after_some(stream, 6)
        await kill_workers(system)
        last = (await events(response))[-1]
        assert (last.type, last.response.error.type) == ("response.failed", "worker_lost")
        with pytest.raises(openai.APIError) as failed:
            await events(completion)
        assert failed.value.code == "worker_lost"
        with pytest.raises(anthropic.APIStatusError):
            await events(message)
    assert len(await provider.calls()) == 3


async def test_a_stopping_broker_says_so_and_another_one_goes_on(system: System, provider: ProviderServer) -> None:
    async with sdks(system) as (client, messages):
        response = await client.responses.create(model="gpt-test", input=ask(SCRIPT), stream=True)
        completion = await client.chat.completions.create(model="gpt-test", messages=ask(SCRIPT), stream=True)
        message = await messages.messages.create(model="claude-test", max_tokens=9, messages=ask(SCRIPT), stream=True)
        seen = await after_some(response, 8)
        chunks = await after_some(completion, 4)
        await after_some(message, 4)
        stopping = asyncio.create_task(stop(system.brokers[0]))
        with pytest.raises(openai.APIError):
            await events(response, seen)
        with pytest.raises(openai.APIError):
            await events(completion)
        with pytest.raises(anthropic.APIStatusError):
            await events(message)
        await stopping
        await system.start_broker()
        seen += await events(
            await client.responses.retrieve(seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number)
        )
        assert [event.sequence_number for event in seen] == list(range(len(seen)))
        assert seen[-1].response.output_text == SCRIPT.text()
        again = await client.responses.retrieve(f"resp_{stream_id_of(chunks[0].id)}")
        while again.status == "in_progress":
            again = await client.responses.retrieve(again.id)
        assert again.output_text == SCRIPT.text()
    assert len(await provider.calls()) == 3
