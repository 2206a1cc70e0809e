"""What an operator sees of workers, brokers, the queue, Redis, the last hour and one stream (PROTOCOL: Operators)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from midstream.lifecycle import presence
from midstream.log.log import Log
from midstream.log.owners import new_owner, worker_of
from midstream.log.values import Ending, NewStream
from midstream.operate import stream_report
from midstream.settings import Settings
from tests import inside

LONG = {"model": "demo/count", "input": "hi", "params": {"words": 1_000, "delay_ms": 1_000}}
SHORT = {"model": "demo/count", "input": "hi", "params": {"words": 3}}


@pytest.fixture(autouse=True)
def _sign_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "SIGN_S", 0.05)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.broker(settings) as asking:
        yield asking


async def fitting(client: httpx2.AsyncClient, path: str, condition: Any) -> Any:
    """Return the first answer that fits: what a process says of itself comes a sign later."""
    async with asyncio.timeout(5):
        while True:
            answer = (await client.get(f"/v1/operate/{path}")).json()
            if condition(answer):
                return answer
            await asyncio.sleep(0.01)


async def test_a_worker_lets_a_sealed_stream_go(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Operate/Seal: also while its source is silent."""
    async with inside.worker(settings):
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        await fitting(client, "workers", lambda each: each["data"] and each["data"][0]["generations"])
        url = f"/v1/operate/streams/default/{stream_id}/seal"
        assert (await client.post(url, json={"reason": "it is silent"})).status_code == 200
        await fitting(client, "workers", lambda each: each["data"][0]["generations"] == [])
    state = (await client.get(f"/v1/streams/{stream_id}")).json()
    assert (state["outcome"], state["error"]["message"]) == ("interrupted", "it is silent")


async def test_a_worker_drains_by_order(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Operate/Drain, Drain/Handover."""
    async with inside.worker(settings.model_copy(update={"drain_s": 0.0})) as worker:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        await fitting(client, "workers", lambda each: each["data"] and each["data"][0]["generations"])
        for path in (f"brokers/{worker.name}", "workers/nobody"):
            absent = await client.post(f"/v1/operate/{path}/drain")
            assert (absent.status_code, absent.json()["code"]) == (404, "process_not_found")
        assert (await client.post(f"/v1/operate/workers/{worker.name}/drain")).status_code == 202
        ended = (await client.get(f"/v1/streams/{stream_id}?wait=10")).json()
        assert ended["error"]["code"] == "worker_lost", "a demo's call is bound to its worker"
        await fitting(client, "workers", lambda each: each["data"] == [])
        rows = (await client.get("/v1/operate/audit")).json()["data"]
        assert [(row["act"], row["process"], row["kind"]) for row in rows] == [("drain", worker.name, "worker")]


async def test_a_worker_is_on_the_roll_with_what_it_runs(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Operate/Roll."""
    async with inside.worker(settings) as worker:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        answer = await fitting(client, "workers", lambda each: each["data"] and each["data"][0]["generations"])
        (row,) = answer["data"]
        assert row["name"] == worker.name
        assert row["alive"]
        assert (row["slots"], row["free"], row["draining"]) == (200, 199, False)
        (generation,) = row["generations"]
        assert (generation["tenant"], generation["id"], generation["epoch"]) == ("default", stream_id, 1)
        assert 0 <= generation["lease_age_ms"] <= settings.lease_ms
        assert 0 <= generation["silence_ms"] <= generation["age_ms"]
        assert abs(row["clock_skew_ms"]) < 1_000
        (broker,) = (await client.get("/v1/operate/brokers")).json()["data"]
        assert {"tails", "followed_streams", "window_bytes", "version", "draining", "pool"} <= broker.keys()
        await client.post(f"/v1/streams/{stream_id}/cancel")
        await client.get(f"/v1/streams/{stream_id}?wait=10")
    assert (await client.get("/v1/operate/workers")).json()["data"] == []


async def test_what_a_process_writes_does_not_survive_it(client: httpx2.AsyncClient, redis: Redis) -> None:
    """Operate/Roll."""
    await fitting(client, "brokers", lambda each: each["data"])
    keys = [key async for key in redis.scan_iter("ms:*")]
    assert [key for key in keys if await redis.ttl(key) < 0] == []
    assert await redis.pttl("ms:roll:broker") <= 8_000


async def test_a_stream_tells_of_owner_tails_timings_and_why(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Operate/Stream, Operate/Tails, Operate/Why."""
    async with inside.worker(settings) as worker:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        async with client.stream("GET", f"/v1/streams/{stream_id}/events") as tail:
            chunks = tail.aiter_raw()  # held, because a generator that is dropped closes the response
            await anext(chunks)
            path = f"streams/default/{stream_id}"
            running = await fitting(client, path, lambda each: each["tails"]["number"] and "is writing" in each["why"])
            assert running["lease"]["owner"]["worker"] == worker.name
            assert running["lease"]["is_alive"]
            assert running["lease"]["age_ms"] <= settings.lease_ms
            (row,) = running["tails"]["data"]
            assert (row["client"], row["lag"]) == ("sse", running["tail"] - row["cursor"])
            assert running["tails"]["brokers_answered"] == running["tails"]["brokers_asked"] == 1
            await client.post(f"/v1/streams/{stream_id}/cancel")
            await client.get(f"/v1/streams/{stream_id}?wait=10")
            await chunks.aclose()
    ended = (await client.get(f"/v1/operate/streams/default/{stream_id}")).json()
    assert ended["why"].startswith("It was cancelled after ")
    assert ended["lease"] is None
    (attempt,) = ended["attempts"]
    assert (attempt["epoch"], attempt["ended_by"]) == (1, "cancelled")
    assert 0 <= ended["timings"]["queued_ms"] <= ended["timings"]["first_delta_ms"] <= ended["timings"]["total_ms"]
    assert "messages" not in ended
    absent = await client.get("/v1/operate/streams/default/absent")
    assert (absent.status_code, absent.json()["code"]) == (404, "stream_not_found")


async def test_of_a_long_log_beginning_and_end_are_read(
    client: httpx2.AsyncClient, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operate/Stream."""
    monkeypatch.setattr(stream_report, "FIRST", 20)
    monkeypatch.setattr(stream_report, "LAST", 10)
    log = Log(redis, "ms")
    new = NewStream(digest="d", tenant="default", model="demo/count", ttl_s=60, request=b'{"input":"hi"}')
    await log.create("s1", new, look_in_ms=60_000)
    claim = await log.claim("s1", new_owner("web-1:42:beef"), 60_000)
    await log.append("s1", claim.fence, 1, [b"ta"] * 98, after_ms=1_000)
    end = b'e{"outcome":"failed","error":{"code":"provider_error","message":"no"}}'
    await log.seal("s1", claim.fence, 99, Ending([end], "failed"))
    report = (await client.get("/v1/operate/streams/default/s1")).json()
    assert (report["tail"], report["entries_read"], report["error"]["code"]) == (100, 30, "provider_error")
    assert report["attempts"][0]["epoch"] == 1
    await client.delete("/v1/streams/s1")


async def test_the_state_names_the_worker_of_each_attempt(client: httpx2.AsyncClient, redis: Redis) -> None:
    """Operate/Stream."""
    log = Log(redis, "ms")
    owner = new_owner("web-1:42:beef")
    assert len(owner) <= 64
    assert worker_of(owner) == "web-1:42:beef"
    new = NewStream(digest="d", tenant="default", model="demo/count", ttl_s=60, request=b'{"input":"hi"}')
    await log.create("s1", new, look_in_ms=60_000)
    claim = await log.claim("s1", owner, 1_000)
    await log.release("s1", claim.fence)
    await log.claim("s1", new_owner("web-2:7:cafe"), 1)
    while (await log.many.release({"s1": 2}))["s1"] is not None:
        pass  # its lease of 1 ms has not run out yet
    await log.claim("s1", new_owner("web-3:9:f00d"), 60_000)
    report = (await client.get("/v1/operate/streams/default/s1")).json()
    assert [(each["ended_by"], each["owner"]["host"], each["owner"]["pid"]) for each in report["attempts"]] == [
        ("handed_over", "web-1", 42),
        ("lost", "web-2", 7),
        (None, "web-3", 9),
    ]
    assert "Its worker web-3:9 is not among those alive" in report["why"]
    await client.delete("/v1/streams/s1")


async def test_the_tails_of_all_brokers_are_counted(
    client: httpx2.AsyncClient, settings: Settings, redis: Redis
) -> None:
    """Operate/Tails."""
    log = Log(redis, "ms")
    new = NewStream(digest="d", tenant="default", model="demo/count", ttl_s=60, request=b'{"input":"hi"}')
    await log.create("s1", new, look_in_ms=60_000)
    await log.claim("s1", new_owner("web-1:42:beef"), 60_000)
    async with inside.broker(settings) as other, contextlib.AsyncExitStack() as stack:
        for each in (client, other, other):
            tail = await stack.enter_async_context(each.stream("GET", "/v1/streams/s1/events"))
            chunks = tail.aiter_raw()
            await anext(chunks)
            stack.push_async_callback(chunks.aclose)
        await fitting(client, "brokers", lambda each: len(each["data"]) == 2)
        path = "streams/default/s1"
        answer = await fitting(client, path, lambda each: each["tails"]["brokers_asked"] == 2)
        assert (answer["tails"]["number"], answer["tails"]["brokers_answered"]) == (3, 2)
        brokers = [row["broker"] for row in answer["tails"]["data"]]
        assert sorted(brokers.count(broker) for broker in set(brokers)) == [1, 2]
    await client.delete("/v1/streams/s1")


async def test_the_queue_names_what_does_not_fit(client: httpx2.AsyncClient, redis: Redis) -> None:
    """Operate/Queue."""
    log = Log(redis, "ms")
    new = NewStream(digest="d", tenant="default", model="demo/count", ttl_s=60, request=b'{"input":"hi"}')
    await log.create("lost", new, look_in_ms=60_000)
    await log.create("produced", replace(new, policy="external"), look_in_ms=60_000)
    await redis.zadd("ms:queue", {"astray.0": time.time() * 1000})
    answer = (await client.get("/v1/operate/queue")).json()
    assert answer["slips_without_stream"] == {"number": 1, "data": [{"tenant": "default", "id": "astray"}]}
    assert answer["streams_without_slip"] == {"number": 1, "data": [{"tenant": "default", "id": "lost"}]}
    assert (answer["depth"], answer["queued_streams"], answer["is_complete"]) == (1, 2, True)
    await redis.zrem("ms:queue", "astray.0")
    await client.delete("/v1/streams/lost")
    await client.delete("/v1/streams/produced")


async def test_the_last_hour_is_counted_by_minute(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Operate/Minutes."""
    async with inside.worker(settings):
        for _ in range(2):
            stream_id = (await client.post("/v1/streams", json=SHORT)).json()["id"]
            await client.get(f"/v1/streams/{stream_id}?wait=10")
        answer = await fitting(client, "stats", lambda each: each["hour"]["outcomes"]["completed"] == 2)
    assert len(answer["minutes"]) == 60
    assert sum(minute["outcomes"]["completed"] for minute in answer["minutes"]) == 2
    hour = answer["hour"]
    assert (hour["starts"], hour["calls"], hour["failures"]) == (2, 2, {})
    assert 0 < hour["first_chunk_s"]["p50"] <= hour["first_chunk_s"]["p95"] < 5
    assert hour["output_tokens"] > 0


async def test_redis_is_described(client: httpx2.AsyncClient) -> None:
    """Operate/Redis."""
    answer = (await client.get("/v1/operate/redis")).json()
    assert answer["version"]
    assert answer["memory"]["used_bytes"] > 0
    assert answer["eviction"]["policy"] == "noeviction"
    assert answer["slow_log"]["length"] >= 0
    assert answer["memory"]["forecast"] is None, "a server that was just started foretells nothing"


async def test_entries_are_shown_without_their_content_unless_it_is_asked_for(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    """Operate/Entries, Operate/Frames."""
    async with inside.worker(settings):
        stream_id = (await client.post("/v1/streams", json=SHORT)).json()["id"]
        await client.get(f"/v1/streams/{stream_id}?wait=10")
    path = f"/v1/operate/streams/default/{stream_id}"
    assert (await client.get(f"{path}/entries?after={2**64}")).status_code == 400
    page = (await client.get(f"{path}/entries?after=1&limit=2")).json()
    assert [each["offset"] for each in page["data"]] == [2, 3]
    assert page["data"][0].keys() == {"offset", "epoch", "type", "written_ms", "bytes"}
    with_content = (await client.get(f"{path}/entries?content=true")).json()["data"]
    native = (await client.get(f"/v1/streams/{stream_id}/entries")).json()["data"]
    assert [each["data"] | {"type": each["type"]} for each in with_content] == [each["data"] for each in native]
    shape = (await client.get(f"{path}/shape")).json()
    assert sum(shape["slices"]) == shape["entries"] == page["tail"] == sum(row["number"] for row in shape["gaps"]) + 1
    assert (shape["stalls"], shape["untimed"]) == ([], 0)
    assert (await client.get("/v1/operate/streams/default/none/entries")).status_code == 404
    events = await client.get(f"/v1/streams/{stream_id}/events")
    frames = (await client.get(f"{path}/frames")).json()
    assert events.text.endswith(frames["frames"])  # after the first frame, which only tells when to come back
    assert frames["upto"] == frames["tail"] == page["tail"]
    for dialect, last in (("chat", "data: [DONE]"), ("responses", "response.completed"), ("messages", "message_stop")):
        assert last in (await client.get(f"{path}/frames?dialect={dialect}")).json()["frames"]
    assert '"type":"finish"' in (await client.get(f"{path}/frames?dialect=ui")).json()["frames"]
    async with inside.broker(settings.model_copy(update={"operators_read": False})) as closed:
        refused = await closed.get(f"{path}/entries?content=true")
        assert (refused.status_code, refused.json()["code"]) == (403, "content_forbidden")
        assert (await closed.get(f"{path}/entries")).status_code == 200
        assert (await closed.get(f"{path}/frames")).status_code == 403


async def test_stalls_are_named_with_their_place(client: httpx2.AsyncClient, redis: Redis) -> None:
    """Operate/Entries."""
    log = Log(redis, "ms")
    new = NewStream(digest="d", tenant="default", model="demo/count", ttl_s=60, request=b'{"input":"hi"}')
    await log.create("s1", new, look_in_ms=60_000)
    claim = await log.claim("s1", new_owner("web-1:42:beef"), 60_000)
    tail = claim.state.tail
    for after_ms in (1_010, 1_020, 6_020, 6_030, 8_030):
        tail = await log.append("s1", claim.fence, tail, [b"tx"], after_ms=after_ms)
    shape = (await client.get("/v1/operate/streams/default/s1/shape")).json()
    stalls = {stall["before_offset"]: stall["gap_ms"] for stall in shape["stalls"]}
    assert (stalls[4], stalls[6]) == (5_000, 2_000)
    assert (shape["entries"], shape["slices"][-1]) == (6, 1)
    await client.delete("/v1/streams/s1")
