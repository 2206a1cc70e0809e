"""PROTOCOL: Delete/Everything, Delete/User: what is deleted is gone from every key of the server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.client.client import Midstream, MidstreamError
from midstream.log.keys import Keys, stream_name
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import inside
from tests.provider.client import ProviderServer

KEYS = {"acme": "acme-0123456789-0123456789-0123456789", "other": "other-0123456789-0123456789-012345678"}
PLANTED = "swordfish"
LONG = {"words": 1_000, "delay_ms": 20}
TALK = {"role": "user", "content": PLANTED}


@pytest.fixture
def settings(settings: Settings, provider: ProviderServer) -> Settings:
    keys = ",".join(f"{key}:{tenant}" for tenant, key in KEYS.items())
    update = {
        "api_keys": SecretStr(keys),
        "openai_api_key": SecretStr("sk-test"),
        "openai_base_url": f"{provider.url}/v1",
        "user_generations": 0,
        "user_starts_per_minute": 0,
    }
    return settings.model_copy(update=update)


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.broker(settings) as client:
        client.headers["Authorization"] = f"Bearer {KEYS['acme']}"
        yield client


async def traces(redis: Redis, *words: str) -> dict[str, list[str]]:
    """Return the keys in whose names or values one of some words is, and the words."""
    traces: dict[str, list[str]] = {}
    async for key in redis.scan_iter(count=1_000):
        if key == b"ms:ended":
            continue  # it has names alone, by which searches learn of ends and deletes
        kind = (await redis.type(key)).decode()
        read: Any = {
            "string": lambda key=key: redis.get(key),
            "hash": lambda key=key: redis.hgetall(key),
            "stream": lambda key=key: redis.xrange(key),
            "none": lambda: asyncio.sleep(0),  # it has expired meanwhile
            "zset": lambda key=key: redis.zrange(key, 0, -1, withscores=True),
        }
        text = f"{key!r} {await read[kind]()!r}"
        if held := [word for word in words if word in text]:
            traces[key.decode()] = held
    return traces


async def post(http: httpx2.AsyncClient, path: str = "/v1/streams", headers: Any = None, **body: Any) -> str:
    """Start a stream and return its id."""
    answer = await http.post(path, json=body, headers=headers)
    assert answer.is_success, answer.text
    return answer.headers["stream-id"]


async def ended(http: httpx2.AsyncClient, stream_id: str) -> str:
    state = (await http.get(f"/v1/streams/{stream_id}?wait=10")).json()
    assert state["status"] == "ended", state
    return stream_id


async def test_a_deleted_stream_leaves_no_trace(http: httpx2.AsyncClient, settings: Settings, redis: Redis) -> None:
    """Delete/Everything."""
    key = {"Idempotency-Key": f"{PLANTED}-key"}
    whose: Any = {"user": "ada", "thread": PLANTED, "metadata": {"note": PLANTED}}
    async with inside.worker(settings):
        script = directive(Script(words=3, tag=PLANTED))
        native = await ended(http, await post(http, headers=key, model="openai/x", input=script, **whose))
        running = await post(http, model="demo/count", input=PLANTED, params=LONG, **whose)
        parts = [{"type": "text", "text": PLANTED}]
        chat = {"id": PLANTED, "trigger": "submit-message", "messages": [{"id": "m", "role": "user", "parts": parts}]}
        of_chat = await post(http, "/api/chat", model="demo/count", **chat)
        completion = {"model": "demo/count", "messages": [TALK]}
        of_sdk = await post(http, "/v1/chat/completions", {"x-stainless-retry-count": "0"}, **completion)
        # A try whose answer was lost: its client may come back for it.
        async with http.stream(
            "POST",
            "/v1/chat/completions",
            json=completion | {"stream": True, "params": LONG, "model": "demo/story"},
            headers={"x-stainless-retry-count": "0"},
        ) as answer:
            lost = answer.headers["stream-id"]
        for _ in range(100):
            if any(":tried:" in key for key in await traces(redis, lost)):
                break
            await asyncio.sleep(0.02)
        streams = (native, running, of_chat, of_sdk, lost)
        before = await traces(redis, *streams)
        assert {key.split(":")[1] for key in before} >= {"index", "chat", "tried"}
        for stream_id in streams:
            assert (await http.delete(f"/v1/streams/{stream_id}")).status_code == 204
    await assert_tombstones_alone(redis, *streams)
    retried = await http.post("/v1/streams", json={"model": "openai/x", "input": script, **whose}, headers=key)
    assert (retried.status_code, retried.json()["code"]) == (410, "stream_deleted")
    assert (await http.get("/v1/streams")).json()["data"] == []


async def test_a_stream_that_no_worker_took_leaves_no_slip(http: httpx2.AsyncClient, redis: Redis) -> None:
    """Delete/Everything."""
    queued = await post(http, model="demo/count", input=PLANTED)
    name = stream_name("acme", queued)
    for prefix in ("arq:retry:", "arq:in-progress:", "arq:result:"):  # as arq leaves them where a worker dies
        await redis.set(f"{prefix}{name}.0", 1, ex=60)
    assert f"arq:job:{name}.0" in await traces(redis, queued)
    assert (await http.delete(f"/v1/streams/{queued}")).status_code == 204
    await assert_tombstones_alone(redis, queued)


async def test_a_chat_that_has_gone_on_is_not_forgotten_with_an_older_turn(
    http: httpx2.AsyncClient, settings: Settings
) -> None:
    """Delete/Everything."""
    chat = {"id": "c", "trigger": "submit-message", "model": "demo/count"}
    turns = []
    async with inside.worker(settings):
        for text in ("one", "two"):
            messages = [{"id": text, "role": "user", "parts": [{"type": "text", "text": text}]}]
            turns.append(await post(http, "/api/chat", **chat, messages=messages))
        assert (await http.delete(f"/v1/streams/{turns[0]}")).status_code == 204
        assert (await http.post("/api/chat/c/stop")).json()["stream_id"] == turns[1]
        assert (await http.delete(f"/v1/streams/{turns[1]}")).status_code == 204
    assert (await http.post("/api/chat/c/stop")).json()["stream_id"] is None


async def assert_tombstones_alone(redis: Redis, *stream_ids: str) -> None:
    """The words of the streams are in no key, and their ids in the tombstones alone."""
    left = await traces(redis, PLANTED, *stream_ids)
    tombs = {str(Keys("ms").state(stream_name("acme", each))): [each] for each in stream_ids}
    assert left == tombs
    for key in tombs:
        tomb: Any = redis.hgetall(key)
        assert await tomb == {b"status": b"deleted"}
        assert 0 < await redis.ttl(key) <= Settings().tombstone_s


async def test_all_streams_of_a_user_are_erased_and_no_others(
    http: httpx2.AsyncClient, settings: Settings, redis: Redis
) -> None:
    """Delete/User."""
    user = f"{PLANTED}/ada@example.com"
    others = {"Authorization": f"Bearer {KEYS['other']}"}
    body = {"model": "demo/count", "input": PLANTED}
    async with inside.worker(settings), Midstream(str(http.base_url), KEYS["acme"]) as client:
        kept = [
            await post(http, **body | {"input": "x", "user": "bob"}),
            await post(http, **body | {"input": "x"}),
        ]
        foreign = await post(http, headers=others, **body | {"input": "x", "user": user})
        mine = [await ended(http, await post(http, **body, user=user)) for _ in range(3)]
        mine.append(await post(http, **body, user=user, params=LONG))
        for each in kept:
            await ended(http, each)
        assert await client.erase_user(user) == len(mine)
        assert await client.erase_user(user) == 0
        assert await client.erase_user("nobody") == 0
        assert {row["id"] for row in (await http.get("/v1/streams")).json()["data"]} == set(kept)
        assert (await http.get(f"/v1/streams/{foreign}", headers=others)).status_code == 200
        await http.delete(f"/v1/streams/{foreign}", headers=others)
        await assert_tombstones_alone(redis, *mine)


async def test_the_command_line_deletes_a_stream_or_a_user(http: httpx2.AsyncClient) -> None:
    """Delete/User."""
    stream_id = await post(http, model="demo/count", input="x")
    for _ in range(2):
        await post(http, model="demo/count", input="x", user="ada")

    async def rm(*words: str) -> tuple[int, str]:
        options = ("--url", str(http.base_url), "--api-key", KEYS["acme"])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "midstream.cli", "rm", *words, *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    assert await rm(stream_id) == (0, "")
    assert await rm("--user", "ada") == (0, "2 streams deleted\n")
    assert await rm("--user", "ada", "--json") == (0, '{"user": "ada", "deleted": 0}\n')
    for words in ((), (stream_id, "--user", "ada")):
        status, text = await rm(*words)
        assert status == 2
        assert "Name either a stream or " in text


async def test_more_streams_than_a_page_are_erased(http: httpx2.AsyncClient, redis: Redis) -> None:
    """Delete/User."""
    ids = [await post(http, model="demo/count", input="x", user="ada") for _ in range(120)]
    answer = await http.delete("/v1/users/ada")
    assert (answer.status_code, answer.json()) == (200, {"user": "ada", "deleted": 120})
    await assert_tombstones_alone(redis, *ids)


async def test_only_a_key_of_the_whole_tenant_erases_a_user(http: httpx2.AsyncClient) -> None:
    """Delete/User."""
    stream_id = await post(http, model="demo/count", input="x", user="ada", thread="t")
    token = (await http.post("/v1/tokens", json={"thread": "t", "scopes": ["read", "stop"]})).json()["token"]
    of_ada = (await http.post("/v1/tokens", json={"thread": "t", "user": "ada", "scopes": ["read", "stop"]})).json()
    for key in (token, of_ada["token"]):
        refused = await http.delete("/v1/users/ada", headers={"Authorization": f"Bearer {key}"})
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        async with Midstream(str(http.base_url), key) as client:
            with pytest.raises(MidstreamError, match="scope"):
                await client.erase_user("ada")
    assert (await http.get(f"/v1/streams/{stream_id}")).status_code == 200
    assert json.loads((await http.delete("/v1/users/ada")).content)["deleted"] == 1
