"""One active stream of a thread at a time, where a start asks for that (PROTOCOL: Threads/Active)."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from midstream.log.errors import StaleEpoch, ThreadActive
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.values import NewStream
from midstream.settings import Settings
from tests.contract.access_calls import ADMIN, served
from tests.contract.ws_talk import dial

LONG = {"words": 900, "delay_ms": 20}
SHORT = {"words": 3, "delay_ms": 1}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(settings, thread_waiting=2) as client:
        yield client


async def start(client: httpx2.AsyncClient, if_active: str | None = None, **changes: Any) -> httpx2.Response:
    body = {"model": "demo/count", "input": "x", "params": SHORT, "thread": "t", "if_active": if_active} | changes
    key = {"Idempotency-Key": body.pop("key")} if "key" in body else {}
    return await client.post("/v1/streams", json=body, headers=ADMIN | key)


async def started(client: httpx2.AsyncClient, if_active: str | None = None, **changes: Any) -> str:
    answer = await start(client, if_active, **changes)
    assert answer.status_code == 201, answer.text
    stream_id: str = answer.json()["id"]
    return stream_id


async def cancel(client: httpx2.AsyncClient, stream_id: str) -> None:
    assert (await client.post(f"/v1/streams/{stream_id}/cancel", headers=ADMIN)).status_code == 202


async def end(client: httpx2.AsyncClient, stream_id: str) -> dict[str, Any]:
    """Wait for a stream's end and return its state."""
    answer = (await client.get(f"/v1/streams/{stream_id}", params={"wait": 10}, headers=ADMIN)).json()
    assert answer["status"] == "ended"
    state: dict[str, Any] = answer
    return state


async def test_a_start_joins_the_active_stream_or_is_rejected(client: httpx2.AsyncClient) -> None:
    """Threads/Active, Ws/Messages, Create/Idempotent: a repeat finds its own stream, whatever else is active."""
    own = await started(client, "reject", key="k")
    await end(client, own)
    active = await started(client, params=LONG)
    joined = await start(client, "join")
    assert (joined.status_code, joined.json()["id"]) == (200, active)
    assert joined.headers["Stream-Id"] == active
    rejected = await start(client, "reject")
    assert (rejected.status_code, rejected.json()["code"]) == (409, "thread_active")
    assert rejected.json()["stream_id"] == active
    async with dial(client, additional_headers=ADMIN) as talk:
        for if_active in ("reject", "join"):
            request = {"model": "demo/count", "input": "x", "thread": "t", "if_active": if_active}
            await talk.say(type="start", request=request, tail=False)
        refused, answer = await talk.hear("error"), await talk.hear("started")
        assert (refused["code"], refused["stream_id"]) == ("thread_active", active)
        assert (answer["id"], answer["created"]) == (active, False)
    again = await start(client, "reject", key="k")
    assert (again.status_code, again.json()["id"]) == (200, own)
    assert (await start(client, "reject", thread=None)).json()["code"] == "bad_request"
    assert (await start(client, "queue", continue_thread=True)).json()["code"] == "bad_request"
    await cancel(client, active)
    await end(client, active)
    assert await started(client, "join") not in (own, active)


async def test_another_users_stream_is_absent(client: httpx2.AsyncClient) -> None:
    """Threads/Active, I7: nobody learns of it, waits for it or cancels it; a key of the whole tenant does."""
    bobs = await started(client, user="bob", params=LONG)
    for if_active in ("reject", "cancel", "queue", "join"):
        adas = await started(client, if_active, user="ada")
        assert (await end(client, adas))["outcome"] == "completed"
    assert (await start(client, "join")).json()["id"] == bobs
    await cancel(client, bobs)
    await end(client, bobs)


async def test_of_many_starts_at_once_one_is_the_active_one(client: httpx2.AsyncClient) -> None:
    """Threads/Active: whatever each of them asks for."""
    answers = await asyncio.gather(*(start(client, "reject", params=LONG) for _ in range(4)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 3}
    (active,) = (answer.json()["id"] for answer in answers if answer.status_code == 201)
    joined = await asyncio.gather(*(start(client, "join") for _ in range(3)))
    assert {answer.json()["id"] for answer in joined} == {active}
    last = await asyncio.gather(*(started(client, "cancel", params=LONG) for _ in range(3)))
    survivor = (await start(client, "join")).json()["id"]
    cancelled = [await end(client, each) for each in (active, *last) if each != survivor]
    assert [state["outcome"] for state in cancelled] == ["cancelled"] * 3
    state = (await client.get(f"/v1/streams/{survivor}", headers=ADMIN)).json()
    assert state["status"] != "ended", "nobody asked for the end of the last one"
    await cancel(client, survivor)
    assert_one_by_one([*cancelled, await end(client, survivor)])


def assert_one_by_one(states: list[dict[str, Any]]) -> None:
    """Of streams that have ended, no two ran at once."""
    ran = sorted((state["started_ms"], state["ended_ms"]) for state in states if state["started_ms"])
    assert all(ended_ms <= next_ms for (_, ended_ms), (next_ms, _) in itertools.pairwise(ran)), ran


async def test_what_is_queued_starts_when_all_before_it_have_ended(client: httpx2.AsyncClient) -> None:
    """Threads/Active, Cancel/Effect, Limits/Refused."""
    first = await started(client, params=LONG)
    second, third = await started(client, "queue"), await started(client, "queue")
    full = await start(client, "queue")
    assert (full.status_code, full.json()["code"], full.json()["limit"]) == (429, "limit_exceeded", "waiting")
    waiting = (await client.get(f"/v1/streams/{third}", headers=ADMIN)).json()
    assert (waiting["status"], waiting["waits"]) == ("queued", "queue")
    await cancel(client, second)  # it waits, so it has ended now; the third one waits for the first all the same
    assert (await end(client, second))["outcome"] == "cancelled"
    fourth = await started(client, "queue")
    await cancel(client, first)
    states = [await end(client, each) for each in (first, third, fourth)]
    assert [state["outcome"] for state in states] == ["cancelled", "completed", "completed"]
    assert_one_by_one(states)


async def test_a_lost_worker_and_a_lost_broker_stop_no_thread(client: httpx2.AsyncClient, redis: Redis) -> None:
    """Threads/Active, Recovery/Verdict: what reapers do with streams that nobody else looks after."""
    log, ids = Log(redis, "ms"), [new_id() for _ in range(3)]
    lost, cancels, queued = (f"acme/{each}" for each in ids)
    new = NewStream(
        digest="",
        tenant="acme",
        thread="t",
        model="demo/count",
        ttl_s=60,
        request=b'{"model":"demo/count","input":"x"}',
    )
    await log.create(lost, new, look_in_ms=500)
    await log.claim(lost, "killed", 500)
    await log.create(
        cancels, replace(new, if_active="cancel"), look_in_ms=200
    )  # its broker dies before it cancels anything
    await log.create(queued, replace(new, if_active="queue", most_waiting=2), look_in_ms=200)
    with pytest.raises(StaleEpoch):
        await log.claim(queued, "early", 500)
    with pytest.raises(ThreadActive) as active:
        await log.create(f"acme/{new_id()}", replace(new, if_active="join"), look_in_ms=200)
    assert active.value.stream_id == ids[0]
    states = [await end(client, each) for each in ids]
    assert [state["outcome"] for state in states] == ["cancelled", "completed", "completed"]
    assert_one_by_one(states)


@pytest.mark.parametrize(("if_active", "status"), [("join", 200), ("reject", 409)])
async def test_no_limit_refuses_a_start_that_begins_nothing(settings: Settings, if_active: str, status: int) -> None:
    """Limits/Retried, Threads/Active: of many at once one begins, and the others come to nothing or to its stream."""
    async with served(settings, tenant_generations=1) as client:
        answers = await asyncio.gather(*(start(client, if_active, params=LONG) for _ in range(30)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, status: 29}
        (begun,) = [answer.json()["id"] for answer in answers if answer.status_code == 201]
        await cancel(client, begun)
        await end(client, begun)


async def test_a_start_that_begins_nothing_is_not_counted(settings: Settings, redis: Redis) -> None:
    """Limits/Starts, Limits/Retried: neither repeats nor those that are one too many to wait."""
    strict = {"tenant_starts_per_minute": 3, "starts_burst_s": 60.0, "tenant_generations": 2, "thread_waiting": 1}
    async with served(settings, **strict) as client:
        first = await started(client, key="first", params=LONG)
        waits = await started(client, "queue")
        for _ in range(4):
            again = await start(client, key="first", params=LONG)
            assert (again.status_code, again.json()["id"]) == (200, first)
            full = await start(client, "queue")
            assert (full.status_code, full.json()["limit"]) == (429, "waiting")
        assert await redis.zcard("ms:live:acme") == await redis.zcard("ms:due") == 2
        await cancel(client, first)
        assert [(await end(client, each))["outcome"] for each in (first, waits)] == ["cancelled", "completed"]
        last = await started(client, thread="u")
        refused = await start(client, thread="v")
        assert (refused.status_code, refused.json()["limit"]) == (429, "starts_per_minute")
        await end(client, last)
