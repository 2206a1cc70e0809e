"""How many tails a tenant and a stream may have in one process, and how long a stream is kept (PROTOCOL: Limits)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from midstream import counters
from midstream.settings import Settings
from tests import inside
from tests.contract.ws_talk import Talk, dial

START: dict[str, Any] = {"model": "demo/count", "input": "one two three", "params": {"words": 5, "delay_ms": 0}}
LONG: dict[str, Any] = START | {"params": {"words": 2_000, "delay_ms": 50}}
QUESTION = {"role": "user", "content": "hi"}
ALPHA, BETA = {"Authorization": "Bearer alpha"}, {"Authorization": "Bearer beta"}


@asynccontextmanager
async def served(settings: Settings, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    keys = SecretStr("alpha:alpha,beta:beta")
    limited = settings.model_copy(update={"api_keys": keys} | changes)
    async with inside.worker(limited), inside.broker(limited) as client:
        yield client


@asynccontextmanager
async def running(client: httpx2.AsyncClient, headers: dict[str, str] = ALPHA) -> AsyncIterator[str]:
    """Start a stream that goes on, and delete it on leaving; yield its path."""
    path: str = (await client.post("/v1/streams", json=LONG, headers=headers)).headers["location"]
    yield path
    await client.delete(path, headers=headers)


async def opened(stack: AsyncExitStack, client: httpx2.AsyncClient, path: str) -> httpx2.Response:
    """Open a tail that the stack closes."""
    return await stack.enter_async_context(client.stream("GET", f"{path}/events", headers=ALPHA))


async def room(client: httpx2.AsyncClient, path: str, most: int) -> int:
    """Return how many of `most` and one more tails are let in at once."""
    async with AsyncExitStack() as stack:
        return sum([(await opened(stack, client, path)).status_code == 200 for _ in range(most + 1)])


async def is_room(client: httpx2.AsyncClient, path: str, most: int) -> None:
    """Wait until so many tails get in, and see that one more does not."""
    async with asyncio.timeout(10):
        while await room(client, path, most) != most:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("of", "allowed"), [("tenant", 3), ("stream", 2)])
async def test_one_tail_more_is_refused_until_another_has_ended(settings: Settings, of: str, allowed: int) -> None:
    """Limits/Tails, Limits/Refused."""
    before = counters.counts().get(("limit_exceeded", of, "tails"), 0)
    async with served(settings, **{f"{of}_tails": allowed}) as client, running(client) as path:
        async with AsyncExitStack() as stack:
            for _ in range(allowed):
                assert (await opened(stack, client, path)).status_code == 200
            refused = await client.get(f"{path}/events", headers=ALPHA)
            problem = refused.json()
            assert (refused.status_code, problem["code"]) == (429, "limit_exceeded")
            assert (problem["limit"], problem["of"], refused.headers["retry-after"]) == ("tails", of, "5")
            async with dial(client, additional_headers=ALPHA) as talk:
                await talk.say(type="tail", id=path.rpartition("/")[2], ref=1)
                error = await talk.hear("error")
                assert (error["code"], error["limit"], error["of"]) == ("limit_exceeded", "tails", of)
            assert counters.counts()["limit_exceeded", of, "tails"] == before + 2
            async with running(client, BETA) as other:
                answer = await client.get(f"{other}/events?follow=false", headers=BETA)
                assert answer.status_code == 200, "another tenant's stream has its own room"
        await is_room(client, path, allowed)


@pytest.mark.both_ways
async def test_a_tail_leaves_its_room_however_it_ends(settings: Settings) -> None:
    """Limits/Tails."""
    most = 8
    async with served(settings, tenant_tails=most) as client, running(client) as path:
        for _ in range(5):
            async with AsyncExitStack() as stack:  # cut by the client, most of them before they were sent much
                for _ in range(most):
                    assert (await opened(stack, client, path)).status_code == 200
            await is_room(client, path, most)
        for _ in range(most * 3):  # to the end of what there is, and of a whole stream
            assert (await client.get(f"{path}/events?follow=false", headers=ALPHA)).status_code == 200
            streamed = await client.post("/v1/streams", json=START | {"stream": True}, headers=ALPHA)
            assert "event: end" in streamed.text
        async with running(client) as deleted, AsyncExitStack() as stack:
            tails = [await opened(stack, client, deleted) for _ in range(most)]
            await client.delete(deleted, headers=ALPHA)
            for tail in tails:
                text = (await tail.aread()).decode()
                assert "event: end" in text or "event: reset" in text, "it was cancelled first"
        await is_room(client, path, most)
        await sockets(client, path.rpartition("/")[2], most)
        await is_room(client, path, most)


async def sockets(client: httpx2.AsyncClient, stream_id: str, most: int) -> None:
    """Tail on sockets that leave, tail again, or are closed."""
    async with AsyncExitStack() as stack:
        talks: list[Talk] = [
            await stack.enter_async_context(dial(client, additional_headers=ALPHA)) for _ in range(most)
        ]
        for talk in talks:
            await talk.say(type="tail", id=stream_id)
            await talk.hear("tailing")
        for talk in talks[: most // 2]:
            await talk.say(type="leave", id=stream_id)
            await talk.hear("closed")
            await talk.say(type="tail", id=stream_id)
            await talk.hear("tailing")
            await talk.say(type="leave", id=stream_id)
            await talk.hear("closed")
            await talk.say(type="tail", id="0" * 32)
            assert (await talk.hear("error"))["code"] == "stream_not_found"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/streams", START | {"stream": True}),
        ("/v1/responses", {"model": "demo/count", "input": "hi", "stream": True}),
        ("/v1/chat/completions", {"model": "demo/count", "messages": [QUESTION], "stream": True}),
        ("/v1/messages", {"model": "demo/count", "messages": [QUESTION], "max_tokens": 9, "stream": True}),
        ("/api/chat", {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "a"}]}]}),
    ],
)
async def test_a_start_whose_tail_has_no_room_starts_nothing(
    settings: Settings, path: str, body: dict[str, Any]
) -> None:
    """Limits/Tails: the client would start, and pay, a second one when it tries again."""
    async with (
        served(settings, tenant_tails=1, default_model="demo/count") as client,
        running(client) as held,
        AsyncExitStack() as stack,
    ):
        await opened(stack, client, held)
        before = (await client.get("/v1/streams", headers=ALPHA)).json()["data"]
        refused = await client.post(path, json=body, headers=ALPHA)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        async with dial(client, additional_headers=ALPHA) as talk:
            await talk.say(type="start", request=START, tail=True)
            assert (await talk.hear("error"))["code"] == "limit_exceeded"
        assert len((await client.get("/v1/streams", headers=ALPHA)).json()["data"]) == len(before) == 1


async def test_a_stream_is_kept_no_longer_than_the_setting_allows(settings: Settings) -> None:
    """Create/Start, Limits/Kept."""
    async with served(settings, max_ttl_s=600) as client:
        refused = await client.post("/v1/streams", json=START | {"ttl_s": 601}, headers=ALPHA)
        assert (refused.status_code, refused.json()["errors"][0]["at"]) == (400, "ttl_s")
        assert "MIDSTREAM_MAX_TTL_S" in refused.json()["detail"]
        started = await client.post("/v1/streams", json=START | {"ttl_s": 600}, headers=ALPHA)
        assert started.status_code == 201
        await client.get(f"{started.headers['location']}?wait=10", headers=ALPHA)
