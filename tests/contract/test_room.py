"""What a tenant may hold open in one process beside tails: waits and WebSockets, and how fast a socket is read."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from pydantic import SecretStr

from midstream import counters
from midstream.settings import Settings
from tests import inside
from tests.contract.content_doors import JSON
from tests.contract.ws_talk import dial

START: dict[str, Any] = {"model": "demo/count", "input": "one two three", "params": {"words": 5, "delay_ms": 0}}
LONG: dict[str, Any] = START | {"params": {"words": 2_000, "delay_ms": 50}}
MESSAGES = {"model": "demo/count", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
ALPHA, BETA = {"Authorization": "Bearer alpha"}, {"Authorization": "Bearer beta"}


@asynccontextmanager
async def served(settings: Settings, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    limited = settings.model_copy(update={"api_keys": SecretStr("alpha:alpha,beta:beta")} | changes)
    async with inside.worker(limited), inside.broker(limited) as client:
        yield client


async def let_in(client: httpx2.AsyncClient, path: str) -> httpx2.Response:
    while (answer := await client.get(path, headers=ALPHA)).status_code == 429:
        pass
    return answer


async def test_one_wait_more_is_refused_until_another_is_over(settings: Settings) -> None:
    """Limits/Waits, Limits/Refused."""
    before = counters.counts().get(("limit_exceeded", "tenant", "waits"), 0)
    async with served(settings, tenant_waits=2) as client:
        running = (await client.post("/v1/streams", json=LONG, headers=ALPHA)).headers["location"]
        waits = [asyncio.ensure_future(let_in(client, f"{running}?wait=20")) for _ in range(2)]
        async with asyncio.timeout(10):
            while (refused := await client.get(f"{running}?wait=0", headers=ALPHA)).status_code != 429:
                await asyncio.sleep(0.01)
        problem = refused.json()
        assert (problem["code"], problem["limit"], problem["of"]) == ("limit_exceeded", "waits", "tenant")
        assert refused.headers["retry-after"] == "5"
        assert counters.counts()["limit_exceeded", "tenant", "waits"] > before
        assert (await client.get(running, headers=ALPHA)).status_code == 200, "a look is no wait"
        whole = await client.post("/v1/chat/completions", json=MESSAGES, headers=ALPHA)
        assert whole.status_code == 200, "a start waits for its own stream"
        for _ in range(2):
            keyed = ALPHA | {"Idempotency-Key": "same"}
            whole = await client.post("/v1/chat/completions", json=MESSAGES, headers=keyed)
            assert whole.status_code == 200, "a retry finds it"
        background = {"model": "demo/count", "input": "hi", "background": True, "words": 2_000, "delay_ms": 50}
        response = (await client.post("/v1/responses", json=background, headers=ALPHA)).json()["id"]
        assert (await client.post(f"/v1/responses/{response}/cancel", headers=ALPHA)).status_code == 200
        other = await client.post("/v1/streams", json=START, headers=BETA)
        assert (await client.get(f"{other.headers['location']}?wait=10", headers=BETA)).status_code == 200
        await client.delete(running, headers=ALPHA)
        assert {answer.status_code for answer in await asyncio.gather(*waits)} <= {200, 404}
        last = await client.post("/v1/streams", json=START, headers=ALPHA)
        assert (await client.get(f"{last.headers['location']}?wait=10", headers=ALPHA)).status_code == 200


async def test_one_socket_more_is_refused_until_another_is_closed(settings: Settings) -> None:
    """Limits/Sockets: by a key in the head, and by one in a message."""
    async with served(settings, tenant_sockets=2) as client:
        for _ in range(3):  # each round needs the room that the one before gave back
            async with AsyncExitStack() as stack:
                for _ in range(2):
                    async with asyncio.timeout(10):
                        while True:
                            talk = await stack.enter_async_context(dial(client, additional_headers=ALPHA))
                            if (await talk.hear())["type"] == "ready":
                                break
                async with dial(client, additional_headers=ALPHA) as talk:
                    error = await talk.hear("error")
                    assert (error["code"], error["limit"], error["of"]) == ("limit_exceeded", "sockets", "tenant")
                    assert error["retry_after_s"] == 5
                    assert await talk.until_closed([]) == 1013
                async with dial(client) as talk:
                    await talk.say(type="auth", key="alpha", ref=3)
                    assert (await talk.hear("error"))["ref"] == 3
                    assert await talk.until_closed([]) == 1013
                async with dial(client, additional_headers=BETA) as talk:
                    await talk.hear("ready")


async def test_a_socket_that_says_too_much_is_read_in_its_turn(settings: Settings) -> None:
    """Limits/Pace: every message is answered, in order, and another socket is not slowed."""
    before = counters.counts().get(("limit_exceeded", "socket", "messages_per_second"), 0)
    async with served(settings, socket_messages_per_second=20) as client:
        loop = asyncio.get_running_loop()
        async with dial(client, additional_headers=ALPHA) as talk, dial(client, additional_headers=ALPHA) as quiet:
            began_s = loop.time()
            for ref in range(40):
                await talk.say(type="ping", ref=ref)
            await quiet.say(type="ping")
            await quiet.hear("pong")
            assert loop.time() - began_s < 0.5
            assert [(await talk.hear("pong"))["ref"] for _ in range(40)] == list(range(40))
            assert 0.9 < loop.time() - began_s < 5
            ref = 40
            while counters.counts()["limit_exceeded", "socket", "messages_per_second"] < before + 15:
                # Without a processor for a moment, the socket was owed some messages at once.
                await talk.say(type="ping", ref=ref)
                assert (await talk.hear("pong"))["ref"] == ref
                ref += 1
        assert counters.counts()["limit_exceeded", "socket", "messages_per_second"] >= before + 15


async def test_without_limits_nothing_is_refused_or_slowed(settings: Settings) -> None:
    """Limits/Waits, Limits/Sockets, Limits/Pace: 0 stands for no limit."""
    none = {"tenant_waits": 0, "tenant_sockets": 0, "socket_messages_per_second": 0, "tenant_tails": 0}
    async with served(settings, **none) as client, dial(client, additional_headers=ALPHA) as talk:
        for ref in range(300):
            await talk.say(type="ping", ref=ref)
        assert [(await talk.hear("pong"))["ref"] for _ in range(300)] == list(range(300))
        started = await client.post("/v1/streams", json=START, headers=ALPHA)
        waits = [client.get(f"{started.headers['location']}?wait=10", headers=ALPHA) for _ in range(5)]
        assert {answer.status_code for answer in await asyncio.gather(*waits)} == {200}


async def test_bodies_of_one_tenant_leave_room_for_those_of_others(settings: Settings) -> None:
    """Limits/Bodies."""
    limits = {"tenant_bodies_bytes": 2_000, "max_body_bytes": 8_000}
    large = START | {"input": "x" * 1_400}

    async def unfinished() -> AsyncIterator[bytes]:
        yield json.dumps(large).encode()[:-1]
        came.set()
        await release.wait()
        yield b"}"

    async with served(settings, **limits) as client:
        came, release = asyncio.Event(), asyncio.Event()
        slow = asyncio.ensure_future(client.post("/v1/streams", content=unfinished(), headers=ALPHA | JSON))
        await came.wait()
        async with asyncio.timeout(10):
            while (refused := await client.post("/v1/streams", json=large, headers=ALPHA)).status_code != 429:
                pass  # the server may not have read the first part yet
        assert (refused.json()["limit"], refused.json()["of"]) == ("bodies_bytes", "tenant")
        assert (await client.post("/v1/streams", json=large, headers=BETA)).status_code == 201
        release.set()
        assert (await slow).status_code == 201
        assert (await client.post("/v1/streams", json=large, headers=ALPHA)).status_code == 201, "its room is free"
