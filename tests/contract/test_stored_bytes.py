"""How much may be stored of a tenant's streams, counted in Redis by all brokers and workers (PROTOCOL: Limits)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.log.log import Log
from midstream.settings import Settings
from tests import inside

START: dict[str, Any] = {"model": "demo/count", "input": "one two three", "params": {"words": 5, "delay_ms": 0}}
LONG: dict[str, Any] = START | {"params": {"words": 2_000, "delay_ms": 50}}
ALPHA, BETA = {"Authorization": "Bearer alpha"}, {"Authorization": "Bearer beta"}


@asynccontextmanager
async def served(settings: Settings, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    limited = settings.model_copy(update={"api_keys": SecretStr("alpha:alpha,beta:beta")} | changes)
    async with inside.worker(limited), inside.broker(limited) as client:
        yield client


async def ended(client: httpx2.AsyncClient, redis: Redis, headers: dict[str, str] = ALPHA, **changes: Any) -> str:
    """Run a stream until its end is noted; return its path."""
    answer = await client.post("/v1/streams", json=START | changes, headers=headers)
    assert answer.status_code == 201, answer.text
    path: str = answer.headers["location"]
    await client.get(f"{path}?wait=10", headers=headers)
    async with asyncio.timeout(10):
        while await redis.zcard("ms:due"):
            await asyncio.sleep(0.01)
    return path


async def stored(redis: Redis, tenant: str = "alpha") -> int:
    rows: list[bytes] = await redis.hvals(f"ms:stored:{tenant}")  # type: ignore[misc]
    return sum(map(int, rows))


async def weight(redis: Redis, path: str, tenant: str = "alpha") -> int:
    """Return what a stream counts for, as its end noted."""
    return int(await redis.hget(state_key(path, tenant), "stored_bytes") or 0)  # type: ignore[misc]


def state_key(path: str, tenant: str = "alpha") -> str:
    return f"ms:{{{tenant}/{path.rpartition('/')[2]}}}:state"


async def test_a_stream_counts_for_the_memory_that_it_takes(settings: Settings, redis: Redis) -> None:
    """Limits/Stored."""
    async with served(settings) as client:
        for words, prompt in ((5, "x"), (300, "x"), (5, "x" * 100_000)):
            path = await ended(client, redis, input=prompt, params={"words": words, "delay_ms": 0})
            state = state_key(path)
            keys = (state, state.replace(":state", ":log"))
            taken = sum([await redis.memory_usage(key, samples=0) or 0 for key in keys])
            assert taken * 0.9 < await weight(redis, path) < taken * 1.1 + 200
            assert await weight(redis, path) > len(prompt)


async def test_what_is_stored_is_counted_until_it_is_deleted(settings: Settings, redis: Redis) -> None:
    """Limits/Stored."""
    async with served(settings) as client:
        paths = [await ended(client, redis, metadata={"a": "b" * 100}), await ended(client, redis, input="x" * 5_000)]
        assert await stored(redis) == sum([await weight(redis, path) for path in paths])
        assert await redis.hlen("ms:stored:alpha") == 1, "streams that expire at about the same time share a row"  # type: ignore[misc]
        assert 86_400_000 < await redis.pttl("ms:stored:alpha") <= 86_400_000 * 9 // 8
        left = await weight(redis, paths[0])
        await client.delete(paths[1], headers=ALPHA)
        assert await stored(redis) == left
        assert (await client.delete(paths[1], headers=ALPHA)).status_code == 404
        assert await stored(redis) == left
        await client.delete(paths[0], headers=ALPHA)
        assert await redis.exists("ms:stored:alpha") == 0


async def test_a_start_beyond_the_limit_is_refused_until_something_is_deleted(settings: Settings, redis: Redis) -> None:
    """Limits/Stored, Limits/Refused, Limits/Retried."""
    async with served(settings, tenant_stored_bytes=60_000) as client:
        kept = await ended(client, redis, input="x" * 40_000)
        refused = await client.post("/v1/streams", json=START | {"input": "x" * 40_000}, headers=ALPHA)
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (429, "limit_exceeded")
        assert (problem["limit"], problem["of"]) == ("stored_bytes", "tenant")
        assert refused.headers["retry-after"] == "3600"
        assert "MIDSTREAM_TENANT_STORED_BYTES" in problem["detail"]
        keyed = ALPHA | {"Idempotency-Key": "k"}
        small = await client.post("/v1/streams", json=START, headers=keyed)
        assert small.status_code == 201, "there is room for a small one"
        large = await client.post("/v1/streams", json=START | {"input": "x" * 40_000}, headers=BETA)
        assert large.status_code == 201, "another tenant has its own"
        await client.get(f"{small.headers['location']}?wait=10", headers=ALPHA)
        assert (await client.post("/v1/streams", json=START, headers=keyed)).status_code == 200
        await client.delete(kept, headers=ALPHA)
        await ended(client, redis, input="x" * 40_000)


async def test_what_runs_counts_with_its_request(settings: Settings, redis: Redis) -> None:
    """Limits/Stored: else a thousand large prompts would get in at once."""
    async with served(settings, tenant_stored_bytes=66_000) as client:
        large = LONG | {"input": "x" * 10_000}
        answers = await asyncio.gather(*(client.post("/v1/streams", json=large, headers=ALPHA) for _ in range(20)))
        assert sorted(answer.status_code for answer in answers)[:5] == [201, 201, 201, 201, 429]
        for answer in answers:
            if answer.status_code == 201:
                await client.delete(answer.headers["location"], headers=ALPHA)
        async with asyncio.timeout(10):
            while await redis.exists("ms:places:alpha"):
                await asyncio.sleep(0.01)
        assert await stored(redis) == 0
        await ended(client, redis)


@pytest.mark.parametrize("first", [{}, {"input": "another body"}])
async def test_a_repeated_start_counts_nothing_twice(settings: Settings, redis: Redis, first: dict[str, Any]) -> None:
    """Limits/Stored: the same start again, and a start of the same key that does not fit."""
    async with served(settings) as client:
        keyed = ALPHA | {"Idempotency-Key": "same"}
        await ended(client, redis, keyed)
        before = await stored(redis)
        for _ in range(3):
            answer = await client.post("/v1/streams", json=START | first, headers=keyed)
            assert answer.status_code == (422 if first else 200)
        assert await redis.zcard("ms:due") == 0, "no reaper looks at it again"
        assert await redis.exists("ms:places:alpha", "ms:live:alpha") == 0
        assert await stored(redis) == before


async def test_an_end_that_nobody_noted_is_counted_by_a_reaper_once(settings: Settings, redis: Redis) -> None:
    """Limits/Stored, Limits/Generations: the process died right after the end was written."""
    async with served(settings) as client:
        path = await ended(client, redis)
        await redis.delete("ms:stored:alpha")
        name = f"alpha/{path.rpartition('/')[2]}"
        await redis.hdel(f"ms:{{{name}}}:state", "noted")  # type: ignore[misc]
        for _ in range(2):  # the second time as after a start that was repeated, and whose process died
            await redis.zadd("ms:due", {name: 1})
            async with asyncio.timeout(10):
                while await redis.zcard("ms:due"):
                    await asyncio.sleep(0.01)
            assert await stored(redis) == await weight(redis, path)


async def test_what_has_expired_makes_room(settings: Settings, redis: Redis) -> None:
    """Limits/Stored."""
    async with served(settings, tenant_stored_bytes=20_000) as client:
        seconds, _ = await redis.time()
        await redis.hset("ms:stored:alpha", str(seconds * 1_000 + 90_000), "19000")  # type: ignore[misc]
        refused = await client.post("/v1/streams", json=START, headers=ALPHA)
        assert 80 <= int(refused.headers["retry-after"]) <= 90
        await redis.delete("ms:stored:alpha")
        await redis.hset("ms:stored:alpha", str(seconds * 1_000 - 1), "19000")  # type: ignore[misc]
        await ended(client, redis)
        assert await stored(redis) < 9_000
        await redis.delete("ms:stored:alpha")


async def test_what_earlier_attempts_wrote_counts(settings: Settings, redis: Redis) -> None:
    """Limits/Stream, Limits/Stored: a worker takes over a log that is nearly full."""
    full = {"max_output_bytes": 20_000, "requeue_ms": 200}
    async with inside.broker(settings.model_copy(update=full)) as client:
        started = await client.post("/v1/streams", json=START | {"params": {"words": 100, "delay_ms": 1}})
        log, name = Log(redis, "ms"), started.json()["id"]
        claim = await log.claim(name, "somebody", 10_000)
        await log.append(name, claim.fence, 1, [b"t" + b"x" * 29_999])
        await log.release(name, claim.fence)
        async with inside.worker(settings.model_copy(update=full)):
            answer = (await client.get(f"/v1/streams/{name}?wait=10")).json()
        assert answer["error"]["code"] == "output_too_large"
        state = await log.state(name)
        assert state is not None
        assert 30_000 < state.log_bytes < 36_000
        assert state.stored_bytes > state.log_bytes


async def test_a_sum_below_zero_heals(settings: Settings, redis: Redis) -> None:
    """Limits/Stored: the stream was counted by a server that lost its last writes."""
    async with served(settings) as client:
        path = await ended(client, redis)
        await redis.delete("ms:stored:alpha")
        await client.delete(path, headers=ALPHA)
        assert await redis.exists("ms:stored:alpha") == 0
