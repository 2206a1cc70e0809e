"""A failure before the first word has its own status, streamed or not (PROTOCOL: Faces/First word)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from midstream_worker.sources.openai_responses import REATTACH_PAUSES_S, OpenAIResponses
from tests import inside
from tests.contract.sdk_clients import Doors, ask, doors, events, on_provider
from tests.provider.client import ProviderServer
from tests.system import System, stop

Call = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider, retry_attempts=1)) as served:
        yield served


async def response(served: Doors, script: Script, *, stream: bool) -> Any:
    return await served.openai.responses.create(model="gpt-test", input=ask(script), stream=stream)


async def completion(served: Doors, script: Script, *, stream: bool) -> Any:
    return await served.openai.chat.completions.create(model="gpt-test", messages=ask(script), stream=stream)


async def message(served: Doors, script: Script, *, stream: bool) -> Any:
    return await served.anthropic.messages.create(
        model="claude-test", max_tokens=9, messages=ask(script), stream=stream
    )


CALLS = (response, completion, message)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
async def test_it_is_the_same_error_streamed_and_not(served: Doors, call: Call, status: int) -> None:
    script = Script(fail="status", fail_at=-1, status=status)
    seen: list[Any] = []
    for stream in (False, True):
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
            await call(served, script, stream=stream)
        error: Any = caught.value
        body = error.body.get("error", error.body)  # without Anthropic's `request_id`, which is each answer's own
        seen.append((type(error), error.status_code, body, error.response.headers["x-should-retry"]))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("call", CALLS)
async def test_a_failure_after_the_first_word_is_told_in_the_stream(
    settings: Settings, provider: ProviderServer, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker reads a cut response on five times before it gives it up, and pauses for 8.6 s in all.
    defaults: Any = OpenAIResponses.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "reattach_pauses_s", (0.01,) * len(REATTACH_PAUSES_S))
    came: list[Any] = []
    async with doors(on_provider(settings, provider, retry_attempts=1)) as served:
        stream = await call(served, Script(words=5, fail="reset", fail_at=3), stream=True)
        try:
            await events(stream, came)
        except (openai.APIError, anthropic.APIStatusError):
            pass
        else:
            assert came[-1].type == "response.failed"
    assert any("w0" in str(each) for each in came)


@pytest.mark.parametrize("call", CALLS)
async def test_the_head_waits_no_longer_than_it_may(settings: Settings, provider: ProviderServer, call: Call) -> None:
    hasty = on_provider(settings, provider, first_word_s=0.1)
    async with doors(hasty) as served, asyncio.timeout(10):
        stream = await call(served, Script(words=2, first_delay_ms=60_000), stream=True)
        await stream.close()
        async with inside.broker(settings) as http:
            for row in (await http.get("/v1/streams")).json()["data"]:
                await http.post(f"/v1/streams/{row['id']}/cancel")
                await http.get(f"/v1/streams/{row['id']}?wait=10")


async def test_a_background_response_is_told_at_once(served: Doors) -> None:
    async with asyncio.timeout(10):
        stream: Any = await served.openai.responses.create(
            model="gpt-test", input=ask(Script(first_delay_ms=60_000)), stream=True, background=True
        )
        created = await anext(stream)
        await stream.close()
        await served.openai.responses.cancel(created.response.id)


async def test_who_leaves_before_the_first_word_leaves_the_generation(
    settings: Settings, provider: ProviderServer
) -> None:
    async with doors(on_provider(settings, provider)) as served:
        asking = asyncio.create_task(response(served, Script(words=2, first_delay_ms=500), stream=True))
        while not await provider.calls():
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait((asking,))
        (row,) = (await served.http.get("/v1/streams")).json()["data"]
        assert (await served.http.get(f"/v1/streams/{row['id']}?wait=10")).json()["outcome"] == "completed"


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions", "/v1/messages"])
async def test_a_broker_that_stops_before_the_first_word_sends_to_another(
    redis_url: str, tmp_path: Path, path: str
) -> None:
    """As unstreamed: the SDKs try a 503 again, and an error in a stream never."""
    request = {"model": "demo/count", "max_tokens": 9, "delay_ms": 2_000, "words": 1, "stream": True}
    request |= {"input": "x"} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "x"}]}
    async with System(redis_url, tmp_path, broker_drain_ms=300) as system:
        await system.start()

        async def sent(count: int) -> httpx2.Response:
            return await system.http.post(path, json=request, headers={"x-stainless-retry-count": str(count)})

        asking = asyncio.create_task(sent(0))
        while not (rows := (await system.http.get("/v1/streams?status=running")).json()["data"]):
            await asyncio.sleep(0.02)
        await asyncio.gather(*map(stop, system.brokers))
        moved = await asking
        assert (moved.status_code, moved.headers["stream-id"]) == (503, rows[0]["id"])
        await system.start_broker()
        again = await sent(1)
        assert (again.status_code, again.headers["stream-id"]) == (200, rows[0]["id"])
