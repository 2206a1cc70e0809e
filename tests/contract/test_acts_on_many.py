"""What an operator does about all streams that a search finds (PROTOCOL: Operate/Many)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from midstream.log.log import Log
from midstream.log.values import NewStream
from midstream.settings import Settings
from tests import inside

ACTS = "/v1/operate/acts"
HELD = 250
"""Streams that the tests begin: more than two pages of an act."""


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    patient = settings.model_copy(update={"lease_ms": 60_000, "requeue_ms": 60_000, "page_limit": 1_000})
    async with inside.broker(patient) as asking:
        yield asking


@pytest.fixture
def log(redis: Redis) -> Log:
    return Log(redis, "ms")


async def create(log: Log, first: int, number: int) -> None:
    new = NewStream(digest="d", tenant="default", model="demo/count", ttl_s=60, request=b'{"input":"hi"}')
    each = (log.create(f"s{first + n}", new, look_in_ms=9_000) for n in range(number))
    await asyncio.gather(*each)


async def order(client: httpx2.AsyncClient, **fields: Any) -> Any:
    body = {"act": "cancel", "where": {"status": "queued"}} | fields
    return (await client.post(ACTS, json=body)).json()


async def test_all_that_a_search_finds_is_counted_first_and_done_then(client: httpx2.AsyncClient, log: Log) -> None:
    """Operate/Many: two operators at once, and each sees a whole number of streams."""
    await create(log, 0, HELD)
    assert await order(client, dry_run=True) == {"act": "cancel", "dry_run": True, "count": HELD}
    assert await order(client, expect=HELD - 30) == (await order(client, expect=HELD - 30)) | {"count": HELD}
    assert (await order(client, dry_run=True))["count"] == HELD, "nothing is done against the expectation"
    both = await asyncio.gather(*(order(client, expect=HELD) for _ in range(2)))
    assert max(answer["done"] for answer in both) >= HELD // 2
    assert [(answer["refused"], answer["next_cursor"]) for answer in both] == [({}, None)] * 2
    assert await order(client, where={"status": "cancelled"}, dry_run=True) == {
        "act": "cancel",
        "dry_run": True,
        "count": HELD,
    }
    rows = (await client.get("/v1/operate/audit")).json()["data"]
    assert [row["result"] for row in rows].count("begun") == 2
    assert rows[0]["where"] == ["status=queued"]
    assert rows[-1]["done"] + rows[-2]["done"] == sum(answer["done"] for answer in both)


async def test_a_long_act_goes_on_from_its_cursor(settings: Settings, log: Log) -> None:
    """Operate/Many: never to more streams than was expected, with some room."""
    async with inside.broker(settings.model_copy(update={"acts_step_s": 1e-6, "requeue_ms": 60_000})) as client:
        await create(log, 0, HELD)
        first = await order(client, act="delete", expect=HELD)
        assert first["done"] == 100
        await create(log, HELD, 5)
        over = await order(client, act="delete", expect=9, cursor=first["next_cursor"])
        assert (over["done"], over["next_cursor"] is None) == (9, False)
        assert (await order(client, act="delete", expect=0, cursor=over["next_cursor"])) == over | {"done": 0}
        done = first["done"] + over["done"]
        cursor = over["next_cursor"]
        while cursor is not None:
            answer = await order(client, act="delete", expect=HELD - done, cursor=cursor)
            done, cursor = done + answer["done"], answer["next_cursor"]
        assert done == HELD
        left = await order(client, act="delete", dry_run=True)
        assert left["count"] == 5, "streams that began later are not among those that were counted"
        await order(client, act="delete", expect=5)


async def test_refusals_are_counted_by_their_reason(client: httpx2.AsyncClient, log: Log) -> None:
    """Operate/Many."""
    await create(log, 0, 30)
    await order(client, act="seal", reason="r", expect=30)
    answer = await order(client, act="seal", where={"status": "ended"}, reason="r", expect=30)
    assert (answer["done"], answer["refused"], len(answer["refusals"])) == (0, {"stream_ended": 30}, 20)
    assert answer["refusals"][0].keys() == {"tenant", "id", "code"}
    paid = await order(client, act="requeue", where={"code": "sealed_by_operator"}, expect=30)
    assert paid["done"] == 30, "no call was begun, so a first one is no second one"
    again = await order(client, act="requeue", where={"code": "sealed_by_operator"}, expect=30)
    assert (again["done"], (await order(client, act="delete", dry_run=True))["count"]) == (30, 30)
    await order(client, act="delete", expect=30)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"where": {}}, "body.where"),
        ({"where": {"colour": "red"}, "expect": 1}, "colour"),
        ({"act": "explode"}, "body.act"),
        ({"act": "seal", "expect": 1}, "body"),
        ({"act": "retain", "expect": 1}, "body"),
        ({"pay_again": True, "expect": 1}, "body"),
        ({}, "body"),
    ],
)
async def test_an_order_that_does_not_fit_is_refused(client: httpx2.AsyncClient, fields: Any, at: str) -> None:
    """Operate/Many."""
    answer = await order(client, **fields)
    assert (answer["status"], answer["errors"][0]["at"]) == (400, at)
