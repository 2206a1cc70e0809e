"""Conversations: which threads there are, and what is in them (PROTOCOL: Threads)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from midstream.client.client import Midstream
from midstream.log.entries import Json
from midstream.log.keys import Keys, new_id
from midstream.log.log import Log
from midstream.log.threads import Threads
from midstream.log.values import NewStream
from midstream.settings import Settings
from tests.contract.access_calls import ADMIN, bearer, read_token, served, started


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(settings.model_copy(update={"page_limit": 50})) as client:
        yield client


async def get(client: httpx2.AsyncClient, path: str, headers: dict[str, str] = ADMIN, **params: Any) -> dict[str, Any]:
    answer = await client.get(path, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_threads_are_listed_by_their_last_starts(client: httpx2.AsyncClient, redis: Redis) -> None:
    """Threads/List, Threads/Lists, Access/Foreign."""
    first = await started(client, ADMIN, thread="rivers", input="Why do rivers bend?")
    await started(client, ADMIN, thread="a/b?c d", user="ada")
    last = await started(
        client, ADMIN, thread="rivers", messages=[{"role": "user", "content": "And lakes?"}], input=None
    )
    listed = await get(client, "/v1/threads", limit=1)
    (rivers,) = listed["data"]
    assert rivers["active_ms"] > 0
    assert rivers == {
        "id": "rivers",
        "title": "And lakes?",
        "streams": 2,
        "last_stream": last,
        "model": "demo/count",
        "status": "ended",
        "outcome": "completed",
        "active_ms": rivers["active_ms"],
    }
    rest = await get(client, "/v1/threads", cursor=listed["next_cursor"])
    async with Midstream(str(client.base_url), "admin") as midstream:
        assert await midstream.threads(limit=1) == listed
        assert await midstream.thread("a/b?c d") == await get(client, "/v1/threads/a%2Fb%3Fc%20d")
    assert [row["id"] for row in rest["data"]] == ["a/b?c d"]
    assert rest["next_cursor"] is None

    adas = bearer(await read_token(client, thread="a/b?c d", user="ada"))
    assert (await client.get("/v1/threads", headers=adas)).status_code == 403
    assert (await client.get("/v1/threads/rivers", headers=adas)).json()["code"] == "thread_not_found"
    assert len((await get(client, "/v1/threads/a%2Fb%3Fc%20d", adas))["streams"]) == 1

    # The last one expires, and then all do.
    keys = Keys("ms")
    await redis.delete(keys.state(f"acme/{last}"))
    assert (await get(client, "/v1/threads"))["data"][0]["last_stream"] == first
    await redis.delete(keys.state(f"acme/{first}"))
    assert [row["id"] for row in (await get(client, "/v1/threads"))["data"]] == ["a/b?c d"]
    assert (await client.get("/v1/threads/rivers", headers=ADMIN)).status_code == 404


async def test_a_threads_messages_are_those_of_its_logs(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Threads/Messages."""
    ids = [await started(client, ADMIN, thread="t", input="one two")]
    talk = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one two"}]
    talk += [{"role": "assistant", "content": "1 2"}, {"role": "user", "content": "more"}]
    ids.append(await started(client, ADMIN, thread="t", messages=talk, input=None))
    await started(client, ADMIN, thread="another")
    thread = await get(client, "/v1/threads/t")
    messages = [(row["stream_id"], row["role"], row["offset"] > 0) for row in thread["data"]]
    assert messages == [(each, role, role == "assistant") for each in ids for role in ("user", "assistant")]
    assert [row["content"] for row in thread["data"][::2]] == ["one two", "more"]
    answer = (await get(client, f"/v1/streams/{ids[1]}", wait=1))["output"]["text"]
    assert thread["data"][3]["content"] == answer
    assert [row["outcome"] for row in thread["streams"]] == ["completed", "completed"]
    assert thread["cursor"] == f"{ids[1]}.{thread['streams'][1]['tail']}"
    assert thread["next_cursor"] is None

    newest = await get(client, "/v1/threads/t", limit=1)
    assert newest["data"] == thread["data"][2:]
    before = await get(client, "/v1/threads/t", limit=1, cursor=newest["next_cursor"])
    assert before["data"] == thread["data"][:2]
    assert before["next_cursor"] is None
    assert (await client.get("/v1/threads/t?cursor=x", headers=ADMIN)).json()["code"] == "bad_cursor"
    async with served(settings, thread_page_chars=1_000) as small:
        long = await started(small, ADMIN, thread="t", input="more " * 300)
        assert [row["id"] for row in (await get(small, "/v1/threads/t"))["streams"]] == [long]


async def test_a_deleted_thread_leaves_no_stream_and_no_name(client: httpx2.AsyncClient, redis: Redis) -> None:
    """Threads/Delete, Threads/Lists, Delete/Everything."""
    gone = [await started(client, ADMIN, thread="swordfish", user=user) for user in ("ada", "bob", None)]
    kept = await started(client, ADMIN, thread="kept", user="ada")
    long = {"thread": "swordfish", "params": {"words": 1_000, "delay_ms": 100}, "model": "demo/count", "input": "x"}
    gone.append((await client.post("/v1/streams", json=long, headers=ADMIN)).json()["id"])
    no_stop = bearer(await read_token(client, thread="swordfish"))
    assert (await client.delete("/v1/threads/swordfish", headers=no_stop)).status_code == 403
    bobs = bearer(await read_token(client, thread="swordfish", user="bob", scopes=["read", "stop"]))
    assert (await client.delete("/v1/threads/swordfish", headers=bobs)).status_code == 204
    assert len((await get(client, "/v1/threads/swordfish"))["streams"]) == 3, "what is another user's stays"
    assert (await client.delete("/v1/threads/swordfish", headers=ADMIN)).status_code == 204
    assert (await client.delete("/v1/threads/swordfish", headers=ADMIN)).json()["code"] == "thread_not_found"
    for stream_id in gone:
        assert (await client.get(f"/v1/streams/{stream_id}", headers=ADMIN)).status_code == 404
    assert [row["last_stream"] for row in (await get(client, "/v1/threads"))["data"]] == [kept]
    for key in await redis.keys("ms:threads:*"):
        assert await redis.zrange(key, 0, -1) == [b"kept"]
    assert len(await redis.keys("ms:thread:*")) == 2, "of the tenant and of Ada"


@pytest.mark.leaves_live
async def test_of_many_starts_at_once_each_has_a_place_after_those_before(redis: Redis) -> None:
    """Threads/Lists."""
    log, threads = Log(redis, "ms"), Threads(redis, "ms")

    async def create(clock_ahead: bool = False) -> None:
        stream_id = new_id()
        new = NewStream(digest="", tenant="acme", user="ada", thread="t", model="m", ttl_s=60, request=b"{}")
        await log.create(f"acme/{stream_id}", new, look_in_ms=60_000)
        if clock_ahead:
            await redis.zadd(Keys("ms").thread("acme", "t"), {stream_id: 4_000_000_000_000})

    await asyncio.gather(*(create() for _ in range(40)))
    before = await threads.last("acme", "t", None, 100)
    assert len({row.created_ms for row in before}) == 40
    await create(clock_ahead=True)
    await create()
    after = await threads.next("acme", "t", before[0].created_ms, 100)
    assert [row.created_ms - 4_000_000_000_000 for row in after] == [0, 1]
    assert [row.stream_id for row in await threads.next("acme", "t", 0, 100)][:40] == [
        row.stream_id for row in reversed(before)
    ]


async def echo(messages: list[Json], _: Json) -> AsyncIterator[str]:
    """Answer with what was sent."""
    yield " | ".join(f"{message['role']}: {message['content']}" for message in messages)


async def test_a_start_goes_on_with_its_thread(settings: Settings) -> None:
    """Threads/Continue, Create/Idempotent."""
    with_app = settings.model_copy(update={"apps": {"echo": f"{__name__}:echo"}})
    async with served(with_app) as client:

        async def turn(text: str, key: str | None = None, **more: Any) -> tuple[str, str]:
            body = {"model": "app/echo", "thread": "t", "input": text} | more
            headers = ADMIN | ({"Idempotency-Key": key} if key else {})
            answer = await client.post("/v1/streams", json=body, headers=headers)
            assert answer.is_success, answer.text
            stream_id: str = answer.json()["id"]
            state = await get(client, f"/v1/streams/{stream_id}", wait=10)
            sent = " | ".join(f"{message['role']}: {message['content']}" for message in state["messages"])
            assert state["output"]["text"] == sent, "what was sent can be read back"
            return stream_id, sent

        system = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one"}]
        _, first = await turn("", messages=system, input=None)
        _, second = await turn("two", continue_thread=True)
        assert second == f"{first} | assistant: {first} | user: two"
        third_id, third = await turn("three", "key", continue_thread=True, trim={"max_messages": 4})
        assert third == f"system: be kind | user: two | assistant: {second} | user: three"
        assert await turn("three", "key", continue_thread=True, trim={"max_messages": 4}) == (third_id, third)
        thread = await get(client, "/v1/threads/t")
        assert [row["content"] for row in thread["data"] if row["role"] == "user"] == ["one", "two", "three"]
        body = {"model": "app/echo", "thread": "t", "input": "x" * 200, "continue_thread": True}
        for faulty in ({"trim": {"max_chars": 100}}, {"thread": None}, {"continue_thread": False, "trim": {}}):
            refused = await client.post("/v1/streams", json=body | faulty, headers=ADMIN)
            assert (refused.status_code, refused.json()["code"]) == (400, "bad_request"), faulty
        # A repeat finds its stream, although what must be sent by now would exceed its budget.
        kept = await turn("four", "other", continue_thread=True, trim={"max_chars": 2_000})
        await turn("", messages=[{"role": "system", "content": "x" * 3_000}, system[1]], input=None)
        assert await turn("four", "other", continue_thread=True, trim={"max_chars": 2_000}) == kept
