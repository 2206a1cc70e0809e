"""What streams cost: in their end, and in sums that count each stream once, whatever ends it (PROTOCOL: Money)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream import file_watch
from midstream.log.entries import Entry, encode
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.log.state import Left
from midstream.log.values import NewStream, Notes
from midstream.settings import Settings
from tests import inside
from tests.contract.lost_workers import LOST_LEASE_MS

LUA = Path(__file__).parents[2] / "broker/midstream/log/lua/shared/date.lua"
TABLE = 'currency = "USD"\n[models]\n"demo/*" = {input = 1, output = 2}\n'
START: dict[str, Any] = {"model": "demo/count", "input": "one two three", "params": {"words": 5, "delay_ms": 0}}
COST = {"amount": "0.000013", "currency": "USD"}  # 3 tokens of input, 5 of output
ALPHA = {"Authorization": "Bearer alpha"}
USAGE = {"input_tokens": 100, "output_tokens": 50, "details": {}}  # 0.0002


@pytest.fixture
def priced(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "prices.toml").write_text(TABLE)
    update = {"prices_file": tmp_path / "prices.toml", "api_keys": SecretStr("alpha:alpha")}
    return settings.model_copy(update=update)


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.broker(settings) as client:
        client.headers.update(ALPHA)
        yield client


async def noted(redis: Redis) -> None:
    """Return when all ends have been noted."""
    async with asyncio.timeout(10):
        while await redis.zcard("ms:due"):
            await asyncio.sleep(0.01)


async def sums(redis: Redis, kind: str, period: str) -> dict[str, int]:
    rows: dict[bytes, bytes] = await redis.hgetall(f"ms:cost:{kind}:USD:{period}")  # type: ignore[misc]
    return {row.decode(): int(nano) for row, nano in rows.items()}


async def lost(redis: Redis, policy: str, *, claims: int = 1) -> str:
    """Leave a stream whose worker heard the usage of its paid call and then died; return its name."""
    log, name = Log(redis, "ms"), "alpha/lost"
    request = b'{"model":"demo/count","input":"one two three","params":{"words":5,"delay_ms":0}}'
    new = NewStream(digest="d", tenant="alpha", model="demo/count", policy=policy, ttl_s=60, request=request)
    await log.create(name, new, look_in_ms=LOST_LEASE_MS)
    fence = (await log.claim(name, "dead", LOST_LEASE_MS)).fence
    await log.renew(name, fence, LOST_LEASE_MS, Notes(intent=1, paid=1))
    await log.append(name, fence, 1, [encode(Entry("usage", USAGE))])
    for _ in range(1, claims):  # workers that died before they made a call
        await log.release(name, fence)
        fence = (await log.claim(name, "dead", LOST_LEASE_MS)).fence
    return name


async def test_a_stream_says_what_it_cost_and_counts_for_all_it_belongs_to(priced: Settings, redis: Redis) -> None:
    """Money/Cost, Money/Counted."""
    async with inside.worker(priced), served(priced) as client:
        start = START | {"user": "ada", "thread": "t 1"}
        path = (await client.post("/v1/streams", json=start, headers={"Idempotency-Key": "k"})).headers["location"]
        document = (await client.get(f"{path}?wait=10")).json()
        assert document["cost"] == COST
        (end,) = (await client.get(f"{path}/entries?after={document['tail'] - 1}")).json()["data"]
        assert end["data"]["cost"] == COST
        await noted(redis)
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        for kind, row in (("tenant", "alpha"), ("user", "alpha/ada"), ("thread", "alpha/t 1")):
            assert await sums(redis, kind, today) == {row: 13_000}, kind
        assert await sums(redis, "model", today) == {"alpha/demo/count": 13_000}
        (key,) = await sums(redis, "key", today)
        for kind, row in (("tenant", "alpha"), ("user", "alpha/ada"), ("key", key)):
            assert await sums(redis, kind, today[:7]) == {row: 13_000}, kind
        for each in [each async for each in redis.scan_iter("ms:cost:*")]:
            assert await redis.ttl(each) > 34 * 86_400
        again = await client.post("/v1/streams", json=start, headers={"Idempotency-Key": "k"})
        assert again.status_code == 200
        name = f"alpha/{path.rpartition('/')[2]}"
        await redis.zadd("ms:due", {name: 1})  # as after a process that died before it noted the end
        await noted(redis)
        await client.delete(path)
        assert await sums(redis, "tenant", today) == {"alpha": 13_000}, "each stream counts once"


async def test_a_new_price_holds_for_what_begins_after_it(
    priced: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Money/Prices: brokers and workers read the file again, and keep the prices where it cannot be used."""
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)
    monkeypatch.setattr(file_watch, "SETTLE_S", 0.0)
    caplog.set_level("INFO", "midstream.money")

    async def cost(client: httpx2.AsyncClient) -> Any:
        path = (await client.post("/v1/streams", json=START)).headers["location"]
        return (await client.get(f"{path}?wait=10")).json()["cost"]

    async def replaced(text: str, line: str) -> None:
        caplog.clear()
        (tmp_path / "prices.toml").write_text(text)
        async with asyncio.timeout(10):
            while line not in caplog.text:
                await asyncio.sleep(0.01)

    async with inside.worker(priced), served(priced) as client:
        assert await cost(client) == COST
        await replaced(TABLE.replace("1", "10").replace("2", "20"), "read again")
        assert await cost(client) == COST | {"amount": "0.00013"}
        await replaced("currency = 1", "stay as they were")
        assert await cost(client) == COST | {"amount": "0.00013"}


async def test_a_stream_without_a_price_has_no_cost(priced: Settings, redis: Redis, tmp_path: Path) -> None:
    """Money/Unknown."""
    (tmp_path / "prices.toml").write_text(TABLE.replace("demo", "openai"))
    async with inside.worker(priced), served(priced) as client:
        path = (await client.post("/v1/streams", json=START)).headers["location"]
        assert (await client.get(f"{path}?wait=10")).json()["cost"] is None
        await noted(redis)
        assert [key async for key in redis.scan_iter("ms:cost:*")] == []


@pytest.mark.parametrize("counted", [True, False])
async def test_an_end_that_nobody_noted_still_counts(priced: Settings, redis: Redis, *, counted: bool) -> None:
    """Money/Counted: the process died right after the end; a reaper counts it, or else its deletion."""
    async with inside.worker(priced), served(priced) as client:
        path = (await client.post("/v1/streams", json=START)).headers["location"]
        await client.get(f"{path}?wait=10")
        await noted(redis)
        await redis.delete(*[key async for key in redis.scan_iter("ms:cost:*")])
        name = f"alpha/{path.rpartition('/')[2]}"
        await redis.hdel(f"ms:{{{name}}}:state", "counted")  # type: ignore[misc]
        if counted:
            await redis.zadd("ms:due", {name: 1})
            await noted(redis)
        await client.delete(path)
        assert await sums(redis, "tenant", f"{datetime.now(UTC):%Y-%m}") == {"alpha": 13_000}


async def test_what_a_dead_worker_has_heard_of_the_cost_counts(priced: Settings, redis: Redis) -> None:
    """Money/Cost, Money/Counted: a reaper ends the stream, and reads the usage in the log."""
    name = await lost(redis, "interrupt", claims=3)
    async with served(priced) as client:
        document = (await client.get(f"/v1/streams/{name.rpartition('/')[2]}?wait=10")).json()
        assert document["outcome"] == "interrupted"
        assert document["cost"] == {"amount": "0.0002", "currency": "USD"}
        await noted(redis)
        assert await sums(redis, "tenant", f"{datetime.now(UTC):%Y-%m}") == {"alpha": 200_000}


async def test_a_second_paid_call_costs_on_top_of_the_first(priced: Settings, redis: Redis) -> None:
    """Money/Cost."""
    name = await lost(redis, "restart")
    async with inside.worker(priced), served(priced) as client:
        document = (await client.get(f"/v1/streams/{name.rpartition('/')[2]}?wait=10")).json()
        assert (document["outcome"], document["cost"]["amount"]) == ("completed", "0.000213")


async def test_the_day_of_a_time_is_that_of_the_calendar(redis: Redis) -> None:
    """Money/Counted: by UTC, with leap years."""
    moments = [
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=17 * number, seconds=86_399) for number in range(3_000)
    ]
    script = LUA.read_text() + "local days = {} for i, ms in ipairs(ARGV) do days[i] = date_of(ms) end return days"
    days = await redis.eval(script, 0, *(str(int(each.timestamp()) * 1_000) for each in moments))  # type: ignore[misc]
    assert [day.decode() for day in days] == [f"{each:%Y-%m-%d}" for each in moments]


async def test_a_user_who_is_erased_leaves_no_name_among_the_costs(priced: Settings, redis: Redis) -> None:
    """Delete/User."""
    month, day = f"{datetime.now(UTC):%Y-%m}", f"{datetime.now(UTC):%Y-%m-%d}"
    async with inside.worker(priced), served(priced) as client:
        for user in ("ada", "bob"):
            path = (await client.post("/v1/streams", json=START | {"user": user})).headers["location"]
            await client.get(f"{path}?wait=10")
        await noted(redis)
        assert (await client.delete("/v1/users/ada")).json()["deleted"] == 1
        for period in (day, month):
            assert await sums(redis, "user", period) == {"": 13_000, "alpha/bob": 13_000}
        assert await sums(redis, "tenant", month) == {"alpha": 26_000}


@pytest.mark.parametrize("strange", [{"cost": "much"}, {"cost": f"{10**30} USD"}, {"ended_ms": "never"}])
async def test_a_strange_state_keeps_no_end_from_being_noted(redis: Redis, strange: dict[str, str]) -> None:
    """Money/Counted: a state that was imported may hold anything."""
    state = {"status": "ended", "tenant": "alpha", "model": "m", "cost": "5 USD", "ended_ms": "1", "ttl_s": "60"}
    await redis.hset("ms:{alpha/strange}:state", mapping=state | strange)  # type: ignore[misc]
    await redis.expire("ms:{alpha/strange}:state", 60)
    await Registry(redis, "ms").unwatch({"alpha/strange": Left(0, 0, 60)})
    assert sum([await redis.hlen(key) for key in [each async for each in redis.scan_iter("ms:cost:*")]]) == 0  # type: ignore[misc]
