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

from midstream.testing.provider.script import Script
from tests.contract.sdk_clients import ask, events, stream_id_of
from tests.provider.client import ProviderServer
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


async def all_speak(system: System, count: int) -> bool:
    """Tell whether so many streams have come to their words: before, a call could not be found again."""
    listed = (await system.http.get("/v1/streams")).json()
    return len([row for row in listed["data"] if row["tail"] > 3]) == count


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


async def test_a_killed_worker_is_told_to_who_waits_for_the_whole_answer(
    system: System, provider: ProviderServer
) -> None:
    """Faces/Whole."""
    async with sdks(system) as (client, messages):
        request: Any = {"max_tokens": 9, "messages": ask(SCRIPT)}
        response = asyncio.create_task(client.responses.create(model="gpt-test", input=ask(SCRIPT)))
        completion = asyncio.create_task(client.chat.completions.create(model="anthropic/claude-test", **request))
        message = asyncio.create_task(messages.messages.create(model="claude-test", **request))
        while not await all_speak(system, 3):
            await asyncio.sleep(0.02)
        await kill_workers(system)
        assert (await response).output_text == SCRIPT.text()
        with pytest.raises(openai.InternalServerError) as failed:
            await completion
        assert failed.value.code == "worker_lost"
        with pytest.raises(anthropic.InternalServerError):
            await message
    assert len(await provider.calls()) == 3


class Reading:
    """A synchronous stream that a thread reads; `some` is set after its sixth event."""

    def __init__(self, stream: Any) -> None:
        self.some = asyncio.Event()
        self.seen: list[Any] = []
        self.failure: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self.over = asyncio.create_task(asyncio.to_thread(self._read, stream))

    def _read(self, stream: Any) -> None:
        try:
            for event in stream:
                self.seen.append(event)
                if len(self.seen) == 6:
                    self._loop.call_soon_threadsafe(self.some.set)
        except (openai.APIError, anthropic.APIError) as error:
            self.failure = error


async def test_a_killed_worker_under_the_synchronous_clients(system: System, provider: ProviderServer) -> None:
    request: Any = {"model": "anthropic/claude-test", "messages": ask(SCRIPT), "stream": True}
    with (
        openai.OpenAI(base_url=f"{system.url}/v1", api_key="any", max_retries=0) as of_openai,
        anthropic.Anthropic(base_url=system.url, api_key="any", max_retries=0) as of_anthropic,
    ):
        streams: list[Any] = [
            await asyncio.to_thread(create)
            for create in (
                lambda: of_openai.responses.create(model="gpt-test", input=ask(SCRIPT), stream=True),
                lambda: of_openai.chat.completions.create(**request),
                lambda: of_anthropic.messages.create(max_tokens=9, **request),
            )
        ]
        readings = [Reading(stream) for stream in streams]
        for reading in readings:
            await reading.some.wait()
        await kill_workers(system)
        await asyncio.gather(*(reading.over for reading in readings))
    response, completion, message = readings
    assert (response.failure, response.seen[-1].response.output_text) == (None, SCRIPT.text())
    assert isinstance(completion.failure, openai.APIError)
    assert completion.failure.code == "worker_lost"
    assert isinstance(message.failure, anthropic.APIStatusError)
    assert len(await provider.calls()) == 3


async def test_a_stopping_broker_says_so_and_another_one_goes_on(system: System, provider: ProviderServer) -> None:
    """Faces/Never silent."""
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
