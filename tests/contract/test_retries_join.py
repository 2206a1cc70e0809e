"""Which try of an SDK's request a retry joins (PROTOCOL: Faces/Retries).

The tries are sent by hand, for the SDKs tell nobody when they give one up; `test_face_retries.py` has the SDKs' own.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from redis.asyncio import Redis

from midstream.log.keys import Keys
from midstream.log.tries import WINDOW_MS, Tries
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import inside
from tests.contract.sdk_clients import ask, on_provider
from tests.provider.client import ProviderServer
from tests.system import System, stop

SLOW = Script(words=30, delay_ms=30)
QUICK = Script(words=3)


class Asker:
    """Sends tries of one request, and knows when the log has heard what became of them."""

    def __init__(self, http: httpx2.AsyncClient, redis: Redis, script: Script, path: str, **fields: Any) -> None:
        self._http = http
        self._redis = redis
        prompt = {"input": ask(script)} if path == "/v1/responses" else {"messages": ask(script)}
        self._path = path
        self._body = {"model": "claude-test" if path == "/v1/messages" else "gpt-test", **prompt, **fields}

    async def send(self, count: int) -> httpx2.Response:
        """Send a try and return its answer, read to the end."""
        return await self._http.post(self._path, json=self._body, headers={"x-stainless-retry-count": str(count)})

    async def lose(self, count: int) -> str:
        """Send a try and give it up as soon as its stream is there; return the stream, once the loss is noted."""
        before = await self.rows()
        trying = asyncio.create_task(self._try_and_leave(count))
        async with asyncio.timeout(10):
            while not (new := {stream for stream, row in (await self.rows()).items() if before.get(stream) != row}):
                await asyncio.sleep(0.01)
            while not await self._redis.exists(Keys("ms").state(*new)):
                await asyncio.sleep(0.01)
            trying.cancel()
            await asyncio.wait((trying,))
            while not (await self.rows())[min(new)].startswith("lost"):
                await asyncio.sleep(0.01)
        return min(new)

    async def rows(self) -> dict[str, str]:
        """Return the tries that are remembered."""
        rows: dict[str, str] = {}
        async for key in self._redis.scan_iter("ms:tried:*"):
            stored = await self._redis.hgetall(key)  # type: ignore[misc]
            rows |= {stream.decode(): row.decode() for stream, row in stored.items()}
        return rows

    async def _try_and_leave(self, count: int) -> None:
        # A connection of its own, which ends with it.
        async with httpx2.AsyncClient(base_url=self._http.base_url) as http:
            await http.post(self._path, json=self._body, headers={"x-stainless-retry-count": str(count)})


@pytest.fixture
async def http(settings: Settings, provider: ProviderServer) -> AsyncIterator[httpx2.AsyncClient]:
    configured = on_provider(settings, provider)
    async with inside.worker(configured), inside.broker(configured) as client:
        yield client


PATHS = [
    (path, {"stream": stream} | ({"max_tokens": 9} if path == "/v1/messages" else {}))
    for path in ("/v1/responses", "/v1/chat/completions", "/v1/messages")
    for stream in (False, True)
]


@pytest.mark.parametrize(("path", "fields"), PATHS, ids=str)
async def test_a_lost_try_is_joined_and_a_delivered_one_is_not(
    http: httpx2.AsyncClient, redis: Redis, provider: ProviderServer, path: str, fields: dict[str, Any]
) -> None:
    lost = Asker(http, redis, SLOW, path, **fields)
    stream_id = await lost.lose(0)
    assert (await lost.send(1)).headers["stream-id"] == stream_id
    assert len(await provider.calls()) == 1
    sender = Asker(http, redis, QUICK, path, **fields)
    first = await sender.send(0)
    again = await sender.send(1)  # asked once more; its own first try never came
    assert first.headers["stream-id"] != again.headers["stream-id"]
    assert len(await provider.calls()) == 3


async def test_of_equal_requests_each_keeps_its_own(
    http: httpx2.AsyncClient, redis: Redis, provider: ProviderServer
) -> None:
    asker = Asker(http, redis, SLOW, "/v1/responses")
    lost = [await asker.lose(0) for _ in range(4)]
    running = asyncio.create_task(asker.send(0))
    answers = await asyncio.gather(*(asker.send(1) for _ in lost))
    assert sorted(answer.headers["stream-id"] for answer in answers) == sorted(lost)
    assert (await running).headers["stream-id"] not in lost
    assert len(await provider.calls()) == 5


async def test_each_lost_try_serves_one_retry_and_that_may_be_lost_too(
    http: httpx2.AsyncClient, redis: Redis, provider: ProviderServer
) -> None:
    asker = Asker(http, redis, SLOW, "/v1/responses")
    stream_id = await asker.lose(0)
    assert await asker.lose(1) == stream_id
    other = asyncio.create_task(asker.send(1))  # of another client: its own try cannot be the lost second one
    joined = await asker.send(2)
    assert joined.headers["stream-id"] == stream_id != (await other).headers["stream-id"]
    assert len(await provider.calls()) == 2


async def test_a_first_try_that_its_retry_has_overtaken_joins_it_once(
    http: httpx2.AsyncClient, redis: Redis, provider: ProviderServer
) -> None:
    asker = Asker(http, redis, QUICK, "/v1/responses")
    retry, late, other = [(await asker.send(count)).headers["stream-id"] for count in (1, 0, 0)]
    assert retry == late != other
    assert len(await provider.calls()) == 2


@pytest.mark.parametrize("done", ["cancel", "delete"])
async def test_who_asks_again_after_a_cancel_or_a_delete_gets_a_new_answer(
    http: httpx2.AsyncClient, redis: Redis, done: str
) -> None:
    asker = Asker(http, redis, SLOW, "/v1/responses")
    stream_id = await asker.lose(0)
    if done == "cancel":
        assert (await http.post(f"/v1/streams/{stream_id}/cancel")).status_code == 202
        await http.get(f"/v1/streams/{stream_id}?wait=10")
    else:
        assert (await http.delete(f"/v1/streams/{stream_id}")).status_code == 204
    again = await asker.send(1)
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert again.headers["stream-id"] != stream_id


async def test_a_failure_that_was_told_is_not_told_again(http: httpx2.AsyncClient, redis: Redis) -> None:
    asker = Asker(http, redis, Script(fail="status", fail_at=-1, status=400), "/v1/responses")
    first, again = await asker.send(0), await asker.send(1)
    assert (first.status_code, again.status_code) == (400, 400)
    assert first.headers["stream-id"] != again.headers["stream-id"]


async def test_a_try_that_was_lost_long_ago_is_no_more_joined(http: httpx2.AsyncClient, redis: Redis) -> None:
    asker = Asker(http, redis, SLOW, "/v1/responses")
    stream_id = await asker.lose(0)
    (key,) = await redis.keys("ms:tried:*")
    state, broker, since_ms, *rest = (await asker.rows())[stream_id].split()
    long_ago = " ".join((state, broker, str(int(since_ms) - WINDOW_MS), *rest))
    await redis.hset(key, stream_id, long_ago)  # type: ignore[misc]
    assert (await asker.send(1)).headers["stream-id"] != stream_id
    assert stream_id not in await asker.rows()


async def test_the_tries_of_a_broker_that_was_killed_are_lost_each_for_one_retry(
    redis_url: str, provider: ProviderServer, tmp_path: Path
) -> None:
    async with System(redis_url, tmp_path, provider.url) as system:
        await system.start()
        async with openai.AsyncOpenAI(base_url=f"{system.url}/v1", api_key="any", max_retries=5) as client:
            script = Script(words=60, delay_ms=30)
            asking = [
                asyncio.create_task(client.responses.create(model="gpt-test", input=ask(script))) for _ in "12345"
            ]
            while len(await provider.calls()) < len(asking):
                await asyncio.sleep(0.02)
            await stop(system.brokers[0], signal.SIGKILL)
            await system.start_broker()
            answers = await asyncio.gather(*asking)
    assert len({answer.id for answer in answers}) == len(asking)
    assert len(await provider.calls()) == len(asking)


async def test_a_broker_that_stood_still_takes_none_of_its_own_tries_for_lost(redis: Redis) -> None:
    """Their connections are its own, and stand; other brokers cannot know, and take it for dead."""
    tries = Tries(redis, "ms")
    await tries.beat("late")
    await redis.zadd(Keys("ms").brokers, {"late": 1})  # its last sign of life
    assert await tries.first("digest", "stream", "late") == ("new", "stream")
    assert await tries.retry("digest", "other", "late", 1, patient=True) is None
    assert await tries.retry("digest", "other", "quick", 1, patient=True) is not None
