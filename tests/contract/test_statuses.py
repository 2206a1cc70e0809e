"""Rows of PROTOCOL's tables of statuses that no other test asks for, and what else of it shows at an endpoint."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect

from midstream.log.keys import Keys, new_id
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.settings import Settings
from tests import inside
from tests.contract.new_streams import create, ended_stream

PROTOCOL = (Path(__file__).parents[2] / "broker/PROTOCOL.md").read_text()
START = {"model": "demo/count", "input": "count", "params": {"words": 5}}
RESPONSE: dict[str, Any] = {"model": "demo/count", "input": "count"}
MESSAGE: dict[str, Any] = {"model": "demo/count", "max_tokens": 9, "messages": [{"role": "user", "content": "count"}]}
NOBODYS = f"resp_{'0' * 32}"
CHAT = {"id": "chat", "messages": [{"id": "u", "role": "user", "parts": [{"type": "text", "text": "count"}]}]}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield client


@pytest.fixture
async def stream_id(client: httpx2.AsyncClient) -> str:
    return await ended_stream(client, words=5)


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/v1/streams?cursor=x", None, 400, "bad_cursor"),
    ("GET", "/v1/streams?status=asleep", None, 400, "bad_request"),
    ("GET", "/v1/streams?limit=0", None, 400, "bad_request"),
    ("GET", "/v1/streams/{id}/entries?after=x", None, 400, "bad_cursor"),
    ("GET", "/v1/streams/{id}?wait=-1", None, 400, "bad_request"),
    ("HEAD", "/v1/streams/{id}/events", None, 405, "method_not_allowed"),
    ("POST", "/v1/streams", {**START, "idle_timeout_s": 1e9}, 400, "bad_request"),
    ("POST", "/v1/streams", {**START, "generation_timeout_s": 901}, 400, "bad_request"),
    ("POST", "/v1/responses", {"model": "demo/count"}, 400, "bad_request"),
    ("POST", "/v1/responses/compact", {"model": "demo/count"}, 400, "bad_request"),
    ("POST", "/v1/responses", {**RESPONSE, "previous_response_id": NOBODYS}, 404, "previous_response_not_found"),
    ("POST", "/v1/responses", {**RESPONSE, "store": False, "background": True}, 400, "bad_request"),
    ("GET", f"/v1/responses/{NOBODYS}", None, 404, "stream_not_found"),
    ("DELETE", f"/v1/responses/{NOBODYS}", None, 404, "stream_not_found"),
    ("GET", "/v1/responses/resp_{id}?stream=true&starting_after=99999", None, 400, "bad_cursor"),
    ("GET", "/v1/responses/resp_{id}/input_items?after=x", None, 400, "bad_request"),
    ("POST", "/v1/responses/resp_{id}/cancel", None, 400, "bad_request"),
    ("POST", "/v1/responses/input_tokens", RESPONSE, 404, "not_found"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), REFUSED)
async def test_what_is_refused_has_its_status(
    client: httpx2.AsyncClient, stream_id: str, method: str, path: str, body: Any, status: int, code: str
) -> None:
    """Errors/Codes, Read/Events, Read/List, Read/Page, Read/State, Create/Start, Responses/Doors, Faces/Counting."""
    answer = await client.request(method, path.replace("{id}", stream_id), json=body)
    assert answer.status_code == status, answer.text
    if method != "HEAD":
        assert (answer.json().get("error") or answer.json())["code"] == code


async def test_what_is_done_has_its_status(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Read/Events, Read/State, Read/Page, Responses/Doors, Faces/Doors, Chat/Doors, Errors/Codes."""
    response = f"/v1/responses/resp_{stream_id}"
    for expected, method, path, body in (
        (200, "GET", f"/v1/streams/{stream_id}/events", None),
        (200, "GET", f"/v1/streams/{stream_id}/events?follow=false&after=1", None),
        (200, "GET", f"/v1/streams/{stream_id}", None),
        (200, "GET", f"/v1/streams/{stream_id}/entries", None),
        (202, "POST", f"/v1/streams/{stream_id}/cancel", None),
        (200, "POST", "/v1/responses", RESPONSE),
        (200, "POST", "/v1/chat/completions", {"model": "demo/count", "messages": MESSAGE["messages"]}),
        (200, "POST", "/v1/messages", MESSAGE),
        (200, "GET", "/v1/models", None),
        (200, "GET", response, None),
        (200, "GET", f"{response}/input_items", None),
        (204, "GET", "/api/chat/nobodys/stream", None),
        (200, "POST", "/api/chat/nobodys/stop", None),
        (200, "POST", "/api/chat", {**CHAT, "model": "demo/count"}),
        (200, "GET", "/healthz", None),
        (200, "GET", "/readyz", None),
        (200, "DELETE", response, None),
        (404, "DELETE", f"/v1/streams/{stream_id}", None),
    ):
        answer = await client.request(method, path, json=body)
        assert answer.status_code == expected, (method, path, answer.text)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", RESPONSE),
        ("/v1/chat/completions", {"model": "demo/count", "messages": MESSAGE["messages"]}),
    ],
)
async def test_what_would_break_openais_sdk_is_not_sent(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    """Faces/No id."""
    fields = {
        line.partition(":")[0] for line in (await client.post(path, json={**body, "stream": True})).text.split("\n")
    }
    assert fields <= {"", "event", "data"}


async def test_the_keys_are_those_of_the_table(client: httpx2.AsyncClient, redis: Redis) -> None:
    """State/Keys."""
    table = PROTOCOL.partition("### State/Keys")[2].partition("\n### ")[0]
    named = [name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)]
    documented = re.compile("|".join(re.sub(r"\\\{name\\\}|<.+?>", ".+", re.escape(name)) for name in named))
    streaming = {**START, "params": {"words": 200, "delay_ms": 5}}
    live = (await client.post("/v1/streams", json=streaming)).json()["id"]
    await client.post("/api/chat", json={**CHAT, "model": "demo/count"})
    await client.post("/v1/responses", json=RESPONSE, headers={"x-stainless-retry-count": "0"})
    keys = [key.decode() for key in await redis.keys("*")]
    await client.post(f"/v1/streams/{live}/cancel")
    await client.get(f"/v1/streams/{live}?wait=10")
    assert len(keys) > 8
    assert [key for key in keys if not documented.fullmatch(key) and not key.startswith("arq:")] == []


async def test_a_stream_is_looked_after_before_it_exists(redis: Redis) -> None:
    """Create/Registered: no command of the create stands between, so a crash after any of them leaves a look."""
    stream_id = new_id()
    keys = Keys("ms")
    async with redis.monitor() as monitor:
        await create(Log(redis, "ms"), stream_id, look_in_ms=1_000)
        seen: list[str] = []
        # Not "in": a script that the server is given anew is a command with all of these words.
        while not any(command.startswith("HSET") for command in seen):
            seen.append((await anext(monitor.listen()))["command"])
    assert any(command.startswith(f"ZADD {keys.due} ") for command in seen)
    await Log(redis, "ms").delete(stream_id, 1)
    await redis.delete(keys.due)


async def test_a_due_stream_is_handed_to_one_reaper_and_later_to_another(redis: Redis) -> None:
    """Recovery/Reaper."""
    registry = Registry(redis, "ms")
    stream_id = new_id()
    await redis.zadd("ms:due", {stream_id: 1})
    looks = await asyncio.gather(*(registry.due(400, 10, 60_000) for _ in range(5)))
    assert sum(stream_id in due.looks_ms for due in looks) == 1
    assert all(due.next_ms - due.now_ms > 0 for due in looks)
    async with asyncio.timeout(5):
        while stream_id not in (await registry.due(400, 10, 60_000)).looks_ms:
            await asyncio.sleep(0.02)
    await redis.delete("ms:due")


async def test_messages_are_answered_in_turn(client: httpx2.AsyncClient) -> None:
    """Ws/One: quick ones do not overtake slow ones, though all were sent at once."""
    async with connect(f"ws://{client.base_url.host}:{client.base_url.port}/v1/ws") as socket:
        assert orjson.loads(await socket.recv())["type"] == "ready"
        for number in range(20):
            slow = {"type": "start", "request": START, "tail": False}
            await socket.send(orjson.dumps({**({"type": "ping"} if number % 2 else slow), "ref": number}).decode())
        answers = [orjson.loads(await socket.recv()) for _ in range(20)]
    assert [answer["ref"] for answer in answers] == list(range(20))
    for answer in answers[::2]:
        await client.get(f"/v1/streams/{answer['id']}?wait=10")
