"""A queue that is too old takes no more starts, and says so at once (PROTOCOL: Limits/Overload)."""

from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from midstream.lifecycle import slips
from midstream.service import intake
from midstream.settings import Settings
from tests import inside

pytestmark = pytest.mark.leaves("the slips of streams that no worker took", keys=["ms:queue"])

START: dict[str, Any] = {"model": "demo/count", "input": "hi"}
KEYED = {"Idempotency-Key": "first"}
MESSAGES: dict[str, Any] = {"model": "demo/count", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def _looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "FRESH_S", 0.0)


async def waited(http: httpx2.AsyncClient, redis: Redis, wait_s: int) -> str:
    """Start a stream and have it look as if it had waited for so long; return its path."""
    started = await http.post("/v1/streams", json=START, headers=KEYED)
    assert started.status_code == 201
    path: str = started.headers["location"]
    seconds, _ = await redis.time()
    await redis.hset(f"ms:{{{path.rpartition('/')[2]}}}:state", "queued_ms", str((seconds - wait_s) * 1_000))  # type: ignore[misc]
    return path


async def test_starts_are_refused_in_each_dialect_while_the_queue_is_too_old(settings: Settings, redis: Redis) -> None:
    """Limits/Overload, Limits/Retried, Faces/Errors."""
    async with inside.broker(settings) as http:
        path = await waited(http, redis, wait_s=90)
        refused = await http.post("/v1/streams", json=START)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == str(refused.json()["retry_after_s"]) == "5"
        openai = await http.post("/v1/chat/completions", json=MESSAGES)
        assert (openai.status_code, openai.json()["error"]["code"]) == (503, "overloaded")
        anthropic = await http.post("/v1/messages", json=MESSAGES | {"max_tokens": 9})
        assert (anthropic.status_code, anthropic.json()["error"]["type"]) == (503, "overloaded_error")
        assert await redis.zcard("ms:due") == 1, "a refused start leaves nothing"
        assert (await http.post("/v1/streams", json=START, headers=KEYED)).status_code == 200
        await http.delete(path)
        later = await http.post("/v1/streams", json=START)
        assert later.status_code == 201
        await http.delete(later.headers["location"])


async def test_a_slip_whose_stream_waits_no_more_is_no_queue(settings: Settings, redis: Redis) -> None:
    """Limits/Overload: its stream was cancelled, or its worker killed. Where many come first, they count."""
    async with inside.broker(settings) as http:
        path = await waited(http, redis, wait_s=90)
        ((slip, written_ms),) = await redis.zrange("ms:queue", 0, 0, withscores=True)
        await http.post(f"{path}/cancel")
        assert not await redis.exists("ms:queue"), "a cancel takes the slip along"
        await redis.zadd("ms:queue", {slip: written_ms - 90_000})
        second = await http.post("/v1/streams", json=START)
        assert second.status_code == 201
        await redis.zadd("ms:queue", {f"gone{number}.0": 0 for number in range(slips.LOOKED_AT)})
        assert (await http.post("/v1/streams", json=START)).status_code == 503
        await http.delete(second.headers["location"])


@pytest.mark.parametrize(("limit_s", "wait_s"), [(0.0, 100), (60.0, 50)])
async def test_a_queue_is_not_too_old_below_the_limit(
    settings: Settings, redis: Redis, limit_s: float, wait_s: int
) -> None:
    """Limits/Overload: 0 is no limit."""
    async with inside.broker(settings.model_copy(update={"overload_queue_s": limit_s})) as http:
        path = await waited(http, redis, wait_s)
        second = await http.post("/v1/streams", json=START)
        assert second.status_code == 201
        await http.delete(path)
        await http.delete(second.headers["location"])
