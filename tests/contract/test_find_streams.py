"""What an operator finds: streams of all tenants, as they are when it is asked (PROTOCOL: Operate/Find)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.access.api_keys import digest
from midstream.lifecycle.ending import end_entry
from midstream.log.entries import encode, text
from midstream.log.keys import stream_name
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.log.state import State
from midstream.log.values import Ending, Fence, NewStream
from midstream.settings import Settings
from tests import inside

PATH = "/v1/operate/streams"
pytestmark = pytest.mark.leaves_live


@pytest.fixture
def closed(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with an operator's key, and leases that outlast a test."""
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nname = "ops"\nsha256 = "{digest("ops")}"\ntenant = "admin"\nscopes = ["operate"]\n')
    keys = SecretStr(f"{'a' * 32}:acme")
    return settings.model_copy(update={"keys_file": path, "api_keys": keys, "lease_ms": 60_000})


@pytest.fixture
async def client(closed: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.broker(closed) as asking:
        asking.headers["Authorization"] = "Bearer ops"
        yield asking


class Streams:
    """Starts and ends streams as brokers and workers do."""

    def __init__(self, redis: Redis) -> None:
        self.log = Log(redis, "ms")
        self.registry = Registry(redis, "ms")

    async def start(self, stream_id: str, tenant: str = "acme", **facts: Any) -> str:
        basic: Any = {"digest": "d", "tenant": tenant, "model": "demo/a", "ttl_s": 60, "request": b"{}"}
        name = stream_name(tenant, stream_id)
        created_ms = await self.log.create(name, NewStream(**basic | facts), look_in_ms=60_000)
        assert created_ms is not None
        await self.registry.add(tenant, stream_id, created_ms, keep_s=60)
        return name

    async def run(self, name: str) -> Fence:
        return (await self.log.claim(name, "w" * 32, 60_000)).fence

    async def end(self, name: str, outcome: str = "completed", code: str | None = None) -> None:
        state = await self.log.state(name) or State()
        error = {"code": code, "message": "It failed."} if code else None
        entry = encode(end_entry(outcome, state=state, now_ms=state.created_ms, error=error))
        await self.log.seal(name, Fence(state.epoch, state.owner), state.tail, Ending([entry], outcome))


@pytest.fixture
def streams(redis: Redis) -> Streams:
    return Streams(redis)


async def ids(client: httpx2.AsyncClient, query: str = "") -> list[str]:
    answer = await client.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    return sorted(row["id"] for row in answer.json()["data"])  # those of one millisecond come in the order of names


async def test_it_follows_streams_of_all_tenants(client: httpx2.AsyncClient, streams: Streams) -> None:
    """Operate/Find, Operate/Facts."""
    assert await ids(client) == []
    first = await streams.start("first", user="ada", thread="t", metadata='{"job":"7"}')
    other = await streams.start("other", "beta", model="demo/b")
    assert await ids(client) == ["first", "other"]
    assert await ids(client, "status=queued&model=demo/b") == ["other"]
    fence = await streams.run(first)
    await streams.log.append(first, fence, 1, [encode(text("hi"))])
    row = (await client.get(f"{PATH}?status=running&metadata.job=7")).json()["data"][0]
    assert (row["tenant"], row["id"], row["epoch"], row["tail"], row["code"]) == ("acme", "first", 1, 2, None)
    assert (row["user"], row["thread"], row["metadata"]) == ("ada", "t", {"job": "7"})
    await streams.end(first, "failed", "provider_error")
    await streams.end(await streams.start("brief", "gamma"))  # begins and ends between two searches
    assert await ids(client, "status=ended") == ["brief", "first"]
    assert await ids(client, "code=provider_error&tenant=acme") == ["first"]
    assert await ids(client, "status=queued&status=failed") == ["first", "other"]
    await streams.log.delete(first, 60)
    await streams.log.delete(other, 60)
    assert await ids(client) == ["brief"]
    await streams.log.retain("gamma/brief", 30)
    assert (await client.get(PATH)).json()["data"][0]["ttl_s"] == 30


async def test_it_pages_the_same_at_every_broker(
    client: httpx2.AsyncClient, closed: Settings, streams: Streams
) -> None:
    """Operate/Find."""
    for number in range(7):
        await streams.start(f"s{number}", "acme" if number % 2 else "beta")
    cursor, pages = "", []
    async with inside.broker(closed) as second:
        second.headers["Authorization"] = "Bearer ops"
        for broker in (client, second, client):
            page = (await broker.get(f"{PATH}?limit=3{cursor}")).json()
            pages.append([row["id"] for row in page["data"]])
            cursor = f"&cursor={page['next_cursor']}"
            await streams.start(f"late{len(pages)}")
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(stream_id for page in pages for stream_id in page) == [f"s{number}" for number in range(7)]
    assert page["next_cursor"] is None


async def test_lost_lists_heal(client: httpx2.AsyncClient, redis: Redis, streams: Streams) -> None:
    """Operate/Facts."""
    await streams.end(await streams.start("old"))
    await streams.end(await streams.start("older", "default"))
    await redis.delete("ms:ended")  # an older version wrote none
    assert await ids(client) == ["old", "older"]
    await streams.end(await streams.start("next", "beta"))
    assert await ids(client) == ["next", "old", "older"]
    await redis.delete("ms:ended")
    await streams.end(await streams.start("last", "beta"))
    assert await ids(client) == ["last", "next", "old", "older"]
    await streams.log.delete("beta/next", 60)
    await redis.delete("ms:ended")
    assert await ids(client) == ["last", "old", "older"]
    await redis.delete("ms:index:acme", "ms:index:beta", "ms:index:default")
    assert await ids(client) == ["last", "old", "older"]


async def test_a_state_that_is_none_ends_no_search(client: httpx2.AsyncClient, redis: Redis, streams: Streams) -> None:
    """Operate/Facts."""
    for stream_id, broken in (("bytes", {"user": b"\xff"}), ("number", {"epoch": "one"}), ("sound", {"epoch": "1"})):
        name = await streams.start(stream_id)
        await streams.end(name)
        await redis.hset(f"ms:{{{name}}}:state", mapping=broken)  # type: ignore[misc]
    assert await ids(client) == ["sound"]


async def test_a_table_that_nobody_asks_is_forgotten_and_filled_again(closed: Settings, streams: Streams) -> None:
    """Operate/Facts."""
    brief = closed.model_copy(update={"find_idle_s": 0.01})
    async with inside.broker(brief) as client:
        client.headers["Authorization"] = "Bearer ops"
        await streams.end(await streams.start("s"))
        assert await ids(client) == ["s"]
        await asyncio.sleep(0.05)
        assert await ids(client) == ["s"]


async def test_what_cannot_be_looked_for_is_named(client: httpx2.AsyncClient) -> None:
    """Operate/Find."""
    refused = await client.get(f"{PATH}?status=stuck&colour=red&limit=5")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_filter")
    assert [error["at"] for error in refused.json()["errors"]] == ["status", "colour"]
    assert (await client.get(f"{PATH}?cursor=x")).json()["code"] == "bad_cursor"
    assert (await client.get(f"{PATH}?limit=0")).json()["code"] == "bad_request"


async def test_an_open_broker_finds_streams_of_no_tenant_but_its_own(settings: Settings, streams: Streams) -> None:
    """Operate/Scope."""
    await streams.end(await streams.start("own", "default"))
    await streams.end(await streams.start("foreign", "acme"))
    async with inside.broker(settings) as client:
        assert await ids(client) == ["own"]
        assert await ids(client, "tenant=acme") == []
