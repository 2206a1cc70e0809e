"""The native doors, each row of PROTOCOL's tables, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from midstream.log.keys import Keys
from midstream.service.resources import open_resources
from midstream.settings import Settings
from tests import inside, leaks, sse
from tests.contract.new_streams import ended_stream

pytestmark = pytest.mark.both_ways

START = {"model": "demo/count", "input": "count", "params": {"words": 12}}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield client


@pytest.fixture
async def stream_id(client: httpx2.AsyncClient) -> str:
    return await ended_stream(client, words=12)


async def test_every_cut_resumes_to_the_same_text(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Read/Events, I2, I5."""
    whole = await sse.tail(client, stream_id)
    assert [event.id for event in whole] == list(range(1, len(whole) + 1))
    assert whole[-1].type == "end"
    for cut in range(1, len(whole)):
        assert whole[:cut] + await sse.tail(client, stream_id, after=cut) == whole


async def test_a_live_stream_is_the_same_to_every_tail(client: httpx2.AsyncClient) -> None:
    start = {**START, "params": {"words": 60, "delay_ms": 5}, "chunking": {"flush_ms": 0}}
    stream_id = (await client.post("/v1/streams", json=start)).json()["id"]
    first = asyncio.create_task(sse.tail(client, stream_id))
    async with client.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
        seen = []
        async for event in sse.parse(answer):
            seen.append(event)
            if event.id == 20:
                break
    second = await sse.tail(client, stream_id, after=20)
    assert seen + second == await first == await sse.tail(client, stream_id)


async def test_the_start_itself_can_be_the_tail(client: httpx2.AsyncClient) -> None:
    """Create/Start, Read/Frames."""
    async with client.stream("POST", "/v1/streams", json={**START, "stream": True}) as answer:
        assert answer.status_code == 201
        events = [event async for event in sse.parse(answer)]
    assert events == await sse.tail(client, answer.headers["stream-id"])
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"].startswith("no-store")


async def test_ended_and_fully_read_is_204(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Read/Ended."""
    last = (await sse.tail(client, stream_id))[-1].id
    answer = await client.get(f"/v1/streams/{stream_id}/events", headers={"Last-Event-ID": str(last)})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_the_header_wins_over_after(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Read/After."""
    assert (await sse.tail(client, stream_id, after=5, params={"after": "2"}))[0].id == 6
    assert (await sse.tail(client, stream_id, params={"after": "2"}))[0].id == 3


async def test_a_cursor_beyond_the_tail_is_reset(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Read/Ahead."""
    reset, *rest = await sse.tail(client, stream_id, after=9_999)
    assert reset == sse.Event(0, "reset", {"type": "reset", "reason": "cursor_ahead"})
    assert rest == await sse.tail(client, stream_id)


async def test_a_trimmed_cursor_is_410_and_says_where_the_log_begins(
    client: httpx2.AsyncClient, stream_id: str, settings: Settings
) -> None:
    """Read/Trimmed."""
    async with open_resources(settings) as resources:
        await resources.log.trim(stream_id, 5)
    for path in ("events", "entries"):
        answer = await client.get(f"/v1/streams/{stream_id}/{path}?after=2")
        assert (answer.status_code, answer.json()["code"]) == (410, "cursor_trimmed")
        assert answer.json()["first_offset"] == 5
    assert [event.id for event in await sse.tail(client, stream_id, after=4)][:2] == [5, 6]


@pytest.mark.leaves_live
async def test_follow_false_stops_at_the_tail(settings: Settings) -> None:
    """Read/Events."""
    async with inside.broker(settings) as client:  # no worker: nothing happens to the stream
        stream_id = (await client.post("/v1/streams", json=START)).json()["id"]
        assert await sse.tail(client, stream_id, params={"follow": "false"}) == []


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "٣", "9" * 16, "1\u00a0"])
async def test_nonsense_cursors_are_refused(client: httpx2.AsyncClient, stream_id: str, cursor: str) -> None:
    """Read/Bad."""
    answer = await client.get(f"/v1/streams/{stream_id}/events", params={"after": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_state_says_how_it_ended_and_wait_includes_the_output(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Read/State."""
    plain = (await client.get(f"/v1/streams/{stream_id}")).json()
    waited = (await client.get(f"/v1/streams/{stream_id}?wait=1")).json()
    assert (plain["status"], plain["outcome"], plain["finish_reason"]) == ("ended", "completed", "stop")
    assert plain["usage"]["output_tokens"] == 12
    assert plain["messages"] == [{"role": "user", "content": "count"}]
    assert "output" not in plain
    assert waited["output"]["text"] == sse.text(await sse.tail(client, stream_id))


async def test_entries_are_paged(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Read/Page."""
    first = (await client.get(f"/v1/streams/{stream_id}/entries?limit=3")).json()
    rest = (await client.get(f"/v1/streams/{stream_id}/entries?after=3")).json()
    offsets = [entry["offset"] for page in (first, rest) for entry in page["data"]]
    assert offsets == list(range(1, first["tail"] + 1))
    assert rest["data"][-1]["data"]["outcome"] == "completed"


async def test_listing_filters_and_pages(client: httpx2.AsyncClient) -> None:
    """Read/List."""
    ids = [(await client.post("/v1/streams", json={**START, "thread": f"t{n % 2}"})).json()["id"] for n in range(5)]
    for stream_id in ids:
        await client.get(f"/v1/streams/{stream_id}?wait=10")
    listed: list[str] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = (await client.get("/v1/streams", params={"limit": "2", **cursor})).json()
        listed += [row["id"] for row in page["data"]]
    assert sorted(listed) == sorted(ids)
    thread = (await client.get("/v1/streams?thread=t1&status=completed")).json()["data"]
    assert {row["id"] for row in thread} == {ids[1], ids[3]}


async def test_a_deleted_stream_is_gone_for_good(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Delete/Tombstone."""
    assert (await client.delete(f"/v1/streams/{stream_id}")).status_code == 204
    for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/entries"), ("POST", "/cancel"), ("DELETE", "")):
        answer = await client.request(method, f"/v1/streams/{stream_id}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "stream_not_found")
    assert (await client.get("/v1/streams")).json()["data"] == []


async def test_deleting_a_live_stream_tells_its_tails(client: httpx2.AsyncClient) -> None:
    """Delete/Tombstone."""
    start = {**START, "params": {"words": 2_000, "delay_ms": 5}}
    stream_id = (await client.post("/v1/streams", json=start)).json()["id"]
    async with client.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
        events = sse.parse(answer)
        await anext(events)
        assert (await client.delete(f"/v1/streams/{stream_id}")).status_code == 204
        last = [event async for event in events][-1]
    assert last.type in ("reset", "end")  # its cancel may have ended it before it was forgotten
    assert last.type == "end" or last.data["reason"] == "deleted"


async def test_cancel_ends_a_running_stream_for_everyone(client: httpx2.AsyncClient) -> None:
    """Cancel/Effect, Cancel/One."""
    start = {**START, "params": {"words": 2_000, "delay_ms": 5}}
    stream_id = (await client.post("/v1/streams", json=start)).json()["id"]
    tails = [asyncio.create_task(sse.tail(client, stream_id)) for _ in range(3)]
    assert (await client.post(f"/v1/streams/{stream_id}/cancel")).status_code == 202
    ends = [(await t)[-1] for t in tails]
    assert {end.data["outcome"] for end in ends} == {"cancelled"}
    again = await client.post(f"/v1/streams/{stream_id}/cancel")
    assert (again.status_code, again.json()["outcome"]) == (202, "cancelled")


@pytest.mark.leaves("a cancelled stream's slip stays in the queue until it expires", keys=["ms:queue"])
async def test_cancel_seals_a_queued_stream_at_once(settings: Settings) -> None:
    """Cancel/Effect."""
    async with inside.broker(settings) as client:
        stream_id = (await client.post("/v1/streams", json=START)).json()["id"]
        answer = await client.post(f"/v1/streams/{stream_id}/cancel")
        assert answer.json()["outcome"] == "cancelled"
        assert [event.type for event in await sse.tail(client, stream_id)] == ["end"]


BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"{", 400, "bad_request"),
    (b"[]", 400, "bad_request"),
    (b"{}", 400, "bad_request"),
    (b'{"input": "x", "messages": []}', 400, "bad_request"),
    (b'{"input": ""}', 400, "bad_request"),
    (b'{"input": "\\ud800"}', 400, "bad_request"),
    (b'{"input": "x", "no_such_field": 1}', 400, "bad_request"),
    (b'{"input": "x", "chunking": {"flush_ms": -1}}', 400, "bad_request"),
    (b'{"input": "x", "on_worker_loss": "pray"}', 400, "bad_request"),
    (b'{"input": "x", "model": "nobody/nothing"}', 422, "unknown_model"),
    (b'{"input": "x", "model": "demo/nothing"}', 422, "unknown_model"),
    (b'{"input": "x", "model": "openai/gpt"}', 422, "missing_provider_key"),
    (b'{"input": "' + b"x" * 2_000_000 + b'"}', 413, "body_too_large"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD_BODIES, ids=lambda value: str(value)[:40])
async def test_a_bad_start_has_its_own_code_and_leaves_nothing(
    settings: Settings, redis: Any, body: bytes, status: int, code: str
) -> None:
    """Create/Start, Errors/Problem, Errors/Codes."""
    async with inside.broker(settings) as client:
        answer = await client.post("/v1/streams", content=body, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert problem["type"] == f"urn:midstream:{code}"
    assert await leaks.keys_of_requests(redis) == []


async def test_a_body_of_unannounced_size_is_limited_too(settings: Settings) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    async with inside.broker(settings) as client:
        answer = await client.post("/v1/streams", content=endless(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_unknown_routes_and_methods_are_problems_too(settings: Settings) -> None:
    """Errors/Codes."""
    async with inside.broker(settings) as client:
        lost = await client.get("/v1/nothing")
        wrong = await client.put("/v1/streams")
    assert (lost.status_code, lost.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")


async def test_the_same_key_starts_once_and_another_body_is_refused(client: httpx2.AsyncClient) -> None:
    """Create/Idempotent."""
    key = {"Idempotency-Key": "order-66"}
    answers = await asyncio.gather(*(client.post("/v1/streams", json=START, headers=key) for _ in range(30)))
    assert sorted({a.status_code for a in answers}) == [200, 201]
    assert sum(a.status_code == 201 for a in answers) == 1
    ids = {a.json()["id"] for a in answers}
    assert len(ids) == 1
    other = await client.post("/v1/streams", json={**START, "input": "else"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    await client.get(f"/v1/streams/{ids.pop()}?wait=10")


async def test_tenants_do_not_see_each_other(settings: Settings) -> None:
    """I7, Errors/Codes."""
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice,kb:bob")})
    alice, bob = ({"Authorization": f"Bearer {key}"} for key in ("ka", "kb"))
    async with inside.worker(closed), inside.broker(closed) as client:
        answer = await client.post("/v1/streams", json=START, headers={**alice, "Idempotency-Key": "k"})
        stream_id = answer.json()["id"]
        await client.get(f"/v1/streams/{stream_id}?wait=10", headers=alice)
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/entries"), ("POST", "/cancel"), ("DELETE", "")):
            seen = await client.request(method, f"/v1/streams/{stream_id}{path}", headers=bob)
            absent = await client.request(method, f"/v1/streams/{'0' * 32}{path}", headers=bob)
            assert (seen.status_code, seen.json()) == (absent.status_code, absent.json()) == (404, seen.json())
        assert (await client.get("/v1/streams", headers=bob)).json()["data"] == []
        other = await client.post("/v1/streams", json=START, headers={**bob, "Idempotency-Key": "k"})
        assert other.status_code == 201
        assert other.json()["id"] != stream_id
        await client.get(f"/v1/streams/{other.json()['id']}?wait=10", headers=bob)
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic ka"}):
            refused = await client.get("/v1/streams", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


async def test_heartbeats_keep_a_silent_stream_open(settings: Settings) -> None:
    """Read/Heartbeat."""
    quick = settings.model_copy(update={"heartbeat_ms": 80})
    start = {**START, "params": {"words": 3, "delay_ms": 400}}
    async with inside.worker(quick), inside.broker(quick) as client:
        stream_id = (await client.post("/v1/streams", json=start)).json()["id"]
        async with client.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
            raw = b"".join([part async for part in answer.aiter_raw()])
    assert raw.count(b":\n\n") >= 4


async def test_an_expired_stream_closes_its_tails(settings: Settings, redis: Any) -> None:
    """Read/Truthful."""
    quick = settings.model_copy(update={"heartbeat_ms": 80})
    async with inside.worker(quick), inside.broker(quick) as client:
        start = {**START, "params": {"words": 500, "delay_ms": 50}}
        stream_id = (await client.post("/v1/streams", json=start)).json()["id"]
        keys = Keys("ms")
        async with client.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
            events = sse.parse(answer)
            await anext(events)
            await redis.delete(keys.state(stream_id), keys.log(stream_id))  # no publication reports this
            last = [event async for event in events][-1]
        async with asyncio.timeout(10):
            while await redis.zcard(keys.due):  # until the reaper has found that it is gone
                await asyncio.sleep(0.01)
    assert (last.type, last.data["reason"]) == ("reset", "gone")


async def test_openapi_has_examples(settings: Settings) -> None:
    async with inside.broker(settings) as client:
        document = (await client.get("/openapi.json")).json()
        assert (await client.get("/docs")).status_code == 200
    body = document["paths"]["/v1/streams"]["post"]["requestBody"]["content"]["application/json"]
    assert "shortest" in body["examples"]
