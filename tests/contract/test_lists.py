"""PROTOCOL: Read/List: all that is there is listed, and nobody's lists keep others waiting."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.access.refusals import LimitExceededError
from midstream.log.facts import FactReader
from midstream.log.keys import Keys, stream_name
from midstream.log.registry import Registry
from midstream.service import listing
from midstream.settings import Settings
from tests import inside

TENANTS = {"hog": "hog-0123456789-0123456789-012345", "other": "other-0123456789-0123456789-0123"}
STREAMS = 1_000
SCAN = 200
KEYS = Keys("ms")


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    keys = ",".join(f"{key}:{tenant}" for tenant, key in TENANTS.items())
    update = {"api_keys": SecretStr(keys), "list_scan": SCAN}
    async with inside.broker(settings.model_copy(update=update)) as client:
        yield client


async def ended(redis: Redis, count: int, apart_ms: int) -> list[str]:
    """Store ended streams of the tenant `hog`, the newest first; every tenth is `failed`."""
    ids = [f"{number:032x}" for number in range(count)]
    async with redis.pipeline(transaction=False) as pipe:
        for number, stream_id in enumerate(ids):
            outcome, created_ms = "completed" if number % 10 else "failed", 10**12 + number * apart_ms
            state = {"tenant": "hog", "status": "ended", "outcome": outcome, "created_ms": created_ms}
            pipe.hset(KEYS.state(stream_name("hog", stream_id)), mapping=state)
            pipe.expire(KEYS.state(stream_name("hog", stream_id)), 60)
            pipe.zadd(KEYS.index("hog"), {stream_id: created_ms})
        pipe.expire(KEYS.index("hog"), 60)
        await pipe.execute()
    return ids[::-1]


async def listed(http: httpx2.AsyncClient, tenant: str = "hog", **params: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {TENANTS[tenant]}"}
    answer = await http.get("/v1/streams", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_a_filter_looks_at_so_many_and_goes_on_by_its_cursor(http: httpx2.AsyncClient, redis: Redis) -> None:
    ids = await ended(redis, STREAMS, apart_ms=1)
    listed_ids, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = await listed(http, status="failed", limit=1_000, **({"cursor": cursor} if cursor else {}))
        listed_ids += [row["id"] for row in page["data"]]
        cursor, pages = page["next_cursor"], pages + 1
        assert len(page["data"]) <= SCAN / 10
    assert listed_ids == [stream_id for stream_id in ids if int(stream_id, 16) % 10 == 0]
    assert pages in (STREAMS // SCAN, STREAMS // SCAN + 1)


async def test_streams_of_one_moment_are_all_listed(http: httpx2.AsyncClient, redis: Redis) -> None:
    ids = await ended(redis, 300, apart_ms=0)
    listed_ids: list[str] = []
    cursor = ""
    while len(listed_ids) <= len(ids):
        page = await listed(http, limit=40, **({"cursor": cursor} if cursor else {}))
        listed_ids += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert listed_ids == ids


async def test_many_lists_of_one_tenant_leave_the_connections_to_others(
    http: httpx2.AsyncClient, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SHARE", 0.5)  # all of them are to be answered in time, however slow the machine is
    await ended(redis, STREAMS, apart_ms=1)
    await redis.config_resetstat()
    connections = int((await redis.info("clients"))["connected_clients"])
    lists = [asyncio.create_task(listed(http, status="queued", limit=1_000)) for _ in range(16)]
    most = 0
    while not all(task.done() for task in lists):
        most = max(most, int((await redis.info("clients"))["connected_clients"]))
        assert (await listed(http, "other"))["data"] == [], "another tenant is answered meanwhile"
    for page in await asyncio.gather(*lists):
        assert page["data"] == []
        assert page["next_cursor"]
    calls = (await redis.info("commandstats"))["cmdstat_hmget"]["calls"]
    assert calls <= 16 * SCAN, "each list looked at so many and no more"
    assert most - connections <= 6, "they share a connection or two"


async def test_a_tenants_lists_take_a_part_of_the_time(
    http: httpx2.AsyncClient, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read/List: one that lists again and again leaves most of the time to others."""
    monkeypatch.setattr(listing, "AT_ONCE_S", 0.0)
    monkeypatch.setattr(listing, "SHARE", 1e-6)
    monkeypatch.setattr(listing, "MOST_REST_S", 0.5)
    await ended(redis, SCAN, apart_ms=1)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for _ in range(3):
        await listed(http, status="failed")
    assert loop.time() - began_s >= 2 * listing.MOST_REST_S


def test_who_lists_on_and_on_gets_a_share_of_the_time_and_who_lists_now_and_then_never_waits() -> None:
    """Read/List."""
    began_s = now_s = 1_000.0
    loud, quiet, taken_s, waits_s = listing.TimeShare(), listing.TimeShare(), 0.0, []
    for took_s in [0.02, 0.001, 0.09, 0.0, 0.05] * 400:
        now_s, taken_s = now_s + took_s, taken_s + took_s
        waits_s.append(loud.spend(now_s, took_s))
        now_s += waits_s[-1]
    assert taken_s <= listing.AT_ONCE_S + listing.SHARE * (now_s - began_s)
    assert max(waits_s) <= listing.MOST_REST_S
    assert not any(quiet.spend(now_s + 0.02 * number, 0.001) for number in range(1_000)), "a twentieth of the time"


async def test_a_list_that_waits_for_too_long_is_refused_by_its_tenants_limit(settings: Settings) -> None:
    """Read/List, Limits/Refused."""
    redis = Redis.from_url(settings.redis_address)
    lists = listing.Lists(FactReader(redis, "ms"), Registry(redis, "ms"), settings)
    lists._wait_s = 0.01
    async with lists._turn("hog"):
        with pytest.raises(LimitExceededError) as refused:
            await lists.page("hog", "hog", listing.Filter(), 1, None)
    assert (refused.value.limit, refused.value.of, refused.value.retry_after_s) == ("lists", "tenant", 1)
    await redis.aclose()
