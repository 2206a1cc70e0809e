"""What a tenant and a user may start, counted by all brokers together, over real HTTP (PROTOCOL: Limits)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis

from midstream.access.grant import owner_of
from midstream.service import lost_places
from midstream.settings import Settings
from tests import inside
from tests.contract.ws_talk import dial
from tests.servers import ValkeyProcess

pytestmark = pytest.mark.leaves("the slips of streams that no worker took", keys=["ms:queue"])

START: dict[str, Any] = {"model": "demo/count", "input": "one two three", "params": {"words": 5, "delay_ms": 0}}
LONG: dict[str, Any] = START | {"params": {"words": 2_000, "delay_ms": 50}}
ALPHA, BETA = {"Authorization": "Bearer alpha"}, {"Authorization": "Bearer beta"}


def limited(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"api_keys": SecretStr("alpha:alpha,beta:beta")} | changes)


@asynccontextmanager
async def brokers(settings: Settings, count: int = 1) -> AsyncIterator[list[httpx2.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(inside.broker(settings)) for _ in range(count)]


async def start(client: httpx2.AsyncClient, headers: dict[str, str] = ALPHA, **changes: Any) -> httpx2.Response:
    return await client.post("/v1/streams", json=START | changes, headers=headers)


async def delete(client: httpx2.AsyncClient, started: list[httpx2.Response]) -> None:
    """Leave no live stream."""
    for answer in started:
        await client.delete(
            answer.headers["location"], headers={"Authorization": answer.request.headers["authorization"]}
        )


def of_status(answers: list[httpx2.Response], status: int) -> list[httpx2.Response]:
    return [answer for answer in answers if answer.status_code == status]


@pytest.mark.parametrize(
    ("limit", "changes"),
    [
        ("generations", {"tenant_generations": 5}),
        ("starts_per_minute", {"tenant_starts_per_minute": 5, "starts_burst_s": 60.0}),
    ],
)
async def test_of_many_starts_at_once_over_three_brokers_the_allowed_ones_get_in(
    settings: Settings, redis: Redis, limit: str, changes: dict[str, Any]
) -> None:
    """Limits/Generations, Limits/Starts, Limits/Refused."""
    async with brokers(limited(settings, **changes), 3) as clients:
        answers = await asyncio.gather(*(start(clients[number % 3]) for number in range(200)))
        assert Counter(answer.status_code for answer in answers) == {201: 5, 429: 195}
        assert await redis.zcard("ms:due") == 5, "a refused start leaves nothing"
        refused = of_status(answers, 429)[0]
        problem = refused.json()
        assert (problem["code"], problem["limit"], problem["of"]) == ("limit_exceeded", limit, "tenant")
        assert 1 <= int(refused.headers["retry-after"]) <= 12
        assert (await start(clients[0], BETA)).status_code == 201, "another tenant has its own limits"
        await delete(clients[0], of_status(answers, 201))
        (last,) = (await clients[0].get("/v1/streams", headers=BETA)).json()["data"]
        await clients[0].delete(f"/v1/streams/{last['id']}", headers=BETA)


async def test_a_place_is_free_again_after_every_way_that_a_stream_ends(settings: Settings, redis: Redis) -> None:
    """Limits/Generations."""
    one = limited(settings, tenant_generations=1, user_generations=1, queue_timeout_s=0.3)
    async with brokers(one) as (client,):
        first = await start(client, user="ada")
        assert (await start(client)).status_code == 429
        assert await redis.zcard("ms:live:alpha") == 1
        await client.post(f"{first.headers['location']}/cancel", headers=ALPHA)
        second = await start(client, user="ada")
        assert second.status_code == 201, "cancelled while it was queued"
        await client.get(f"{second.headers['location']}?wait=10", headers=ALPHA)  # a reaper ends it: no worker came
        async with inside.worker(one):
            async with asyncio.timeout(10):
                while (third := await start(client, user="ada")).status_code == 429:
                    await asyncio.sleep(0.01)
            await client.get(f"{third.headers['location']}?wait=10", headers=ALPHA)
            async with asyncio.timeout(10):
                while await redis.exists("ms:live:alpha"):
                    await asyncio.sleep(0.01)
            running = await start(client, **LONG)
            await client.delete(running.headers["location"], headers=ALPHA)
            async with asyncio.timeout(10):
                while await redis.exists("ms:live:alpha"):
                    await asyncio.sleep(0.01)
        assert [key async for key in redis.scan_iter("ms:live:*")] == []
        assert [key async for key in redis.scan_iter("ms:places:*")] == []


async def test_a_place_whose_stream_was_forgotten_heals(settings: Settings, redis: Redis) -> None:
    """Limits/Generations: a stream counts for no longer than a stream may live."""
    brief = limited(settings, tenant_generations=1, queue_timeout_s=0.2, max_attempts=1, generation_timeout_s=0.2)
    async with brokers(brief) as (client,):
        seconds, _ = await redis.time()
        await redis.zadd("ms:live:alpha", {"alpha/lost": seconds * 1_000 + 3_000})
        assert (await start(client)).status_code == 429
        await redis.zadd("ms:live:alpha", {"alpha/lost": seconds * 1_000 - 1})
        started = await start(client)
        assert started.status_code == 201
        assert 0 < await redis.pttl("ms:live:alpha") <= 400
        await delete(client, [started])


async def test_a_retry_of_what_its_key_began_is_never_refused(settings: Settings) -> None:
    """Limits/Retried: while it runs, and after its end."""
    keyed = ALPHA | {"Idempotency-Key": "same"}
    strict = limited(settings, tenant_generations=1, tenant_starts_per_minute=1, starts_burst_s=60.0)
    async with brokers(strict) as (client,):
        first = await start(client, keyed)
        again = await start(client, keyed)
        assert (first.status_code, again.status_code, again.json()["id"]) == (201, 200, first.json()["id"])
        other = await start(client, keyed, input="another body")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
        assert (await start(client, ALPHA | {"Idempotency-Key": "new"})).status_code == 429
        await client.post(f"{first.headers['location']}/cancel", headers=ALPHA)
        ended = await start(client, keyed)
        assert (ended.status_code, ended.json()["status"]) == (200, "ended")


async def test_a_user_has_limits_within_those_of_the_tenant(settings: Settings, redis: Redis) -> None:
    """Limits/Starts, Limits/Generations: the user of the credential, or the one that a tenant's key names."""
    async with brokers(limited(settings, user_generations=2, tenant_generations=4)) as (client,):
        of_ada = [await start(client, user="ada") for _ in range(3)]
        assert [answer.status_code for answer in of_ada] == [201, 201, 429]
        assert (of_ada[2].json()["limit"], of_ada[2].json()["of"]) == ("generations", "user")
        others = [await start(client, user="bob"), await start(client), await start(client, user="bob")]
        assert [answer.status_code for answer in others] == [201, 201, 429]
        assert others[2].json()["of"] == "tenant"
        await delete(client, [*of_ada[:2], *others[:2]])
        assert await redis.exists("ms:live:alpha") == 0


async def test_each_dialect_words_the_refusal_as_its_own_rate_limit(settings: Settings) -> None:
    """Limits/Refused, Faces/Errors."""
    messages = {"model": "demo/count", "messages": [{"role": "user", "content": "hi"}]}
    async with brokers(limited(settings, tenant_starts_per_minute=1, starts_burst_s=60.0)) as (client,):
        started = await start(client)
        for path, body in (
            ("/v1/responses", {"model": "demo/count", "input": "hi"}),
            ("/v1/chat/completions", messages),
        ):
            refused = await client.post(path, json=body, headers=ALPHA)
            error = refused.json()["error"]
            assert (refused.status_code, error["type"]) == (429, "rate_limit_error")
            assert error["code"] == "rate_limit_exceeded"
            assert int(refused.headers["retry-after"]) > 1
        refused = await client.post("/v1/messages", json=messages | {"max_tokens": 9}, headers=ALPHA)
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        turn = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
        refused = await client.post("/api/chat", json=turn | {"model": "demo/count"}, headers=ALPHA)
        assert (refused.status_code, refused.headers["error-code"]) == (429, "limit_exceeded")
        async with dial(client, additional_headers=ALPHA) as talk:
            await talk.say(type="start", request=START, ref=7)
            error = await talk.hear("error")
            assert (error["code"], error["limit"], error["of"]) == ("limit_exceeded", "starts_per_minute", "tenant")
            assert error["ref"] == 7
            assert error["retry_after_s"] > 1
        await delete(client, [started])


async def test_without_limits_nothing_is_counted(settings: Settings, redis: Redis) -> None:
    """Limits/Starts."""
    none = {f"{of}_{limit}": 0 for of in ("tenant", "user") for limit in ("starts_per_minute", "generations")}
    none["tenant_stored_bytes"] = 0
    async with brokers(limited(settings, **none)) as (client,):
        started = [await start(client, user="ada") for _ in range(3)]
        assert [key async for key in redis.scan_iter("ms:live:*")] == []
        assert [key async for key in redis.scan_iter("ms:rate:*")] == []
        await delete(client, started)


async def test_a_limit_that_redis_cannot_answer_for_starts_nothing_and_reads_on(
    settings: Settings, tmp_path: Path
) -> None:
    """Limits/Closed."""
    with ValkeyProcess(tmp_path) as server:
        patient = limited(settings, redis_url=SecretStr(server.url), redis_timeout_s=0.5)
        async with brokers(patient) as (client,), inside.worker(patient):
            running = await start(client, **LONG)
            location = running.headers["location"]
            async with client.stream("GET", f"{location}/events", headers=ALPHA) as first:
                lines = first.aiter_lines()  # kept: it closes the response when it is collected
                while await anext(lines) != "event: start":
                    pass
                server.freeze()
                try:
                    refused = await start(client)
                    assert (refused.status_code, refused.json()["code"]) == (503, "log_unavailable")
                    async with client.stream("GET", f"{location}/events", headers=ALPHA) as second:
                        assert second.status_code == 200
                finally:
                    server.thaw()
            await delete(client, [running])


async def test_a_start_goes_on_uncounted_where_the_setting_says_so(settings: Settings, redis: Redis) -> None:
    """Limits/Closed: Redis cannot say what the tenant runs, but takes the stream."""
    await redis.set("ms:live:alpha", "no set")
    async with brokers(limited(settings)) as (closed,), brokers(limited(settings, start_uncounted=True)) as (opened,):
        refused = await start(closed)
        assert (refused.status_code, refused.json()["code"]) == (503, "log_unavailable")
        assert "retry-after" in refused.headers
        started = await start(opened)
        assert started.status_code == 201
        await redis.delete("ms:live:alpha")
        await delete(opened, [started])


@pytest.mark.parametrize("set_back_s", [-86_400, 86_400])
async def test_a_set_clock_shuts_nobody_out(settings: Settings, redis: Redis, set_back_s: int) -> None:
    """Limits/Starts, Limits/Generations: the rate was written before the server's clock was set by a day."""
    async with brokers(limited(settings, tenant_starts_per_minute=6, starts_burst_s=20.0)) as (client,):
        seconds, _ = await redis.time()
        await redis.set("ms:rate:alpha", str((seconds + set_back_s) * 1_000))
        answers = [await start(client) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert 1 <= int(answers[2].headers["retry-after"]) <= 20
        await delete(client, answers[:2])


async def test_a_place_of_a_start_that_was_cut_short_is_free_again(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits/Generations: a broker was killed after it counted the start and before it created the stream."""
    monkeypatch.setattr(lost_places, "LOOK_S", 0.0)
    life_ms = round(settings.longest_life_s * 1000)
    async with brokers(limited(settings, tenant_generations=2, user_generations=1)) as (client,):
        seconds, _ = await redis.time()
        old, new = f"alpha/{'0' * 32}", f"alpha/{'1' * 32}"
        of_ada = f"ms:live:{owner_of('alpha', 'ada')}"
        for set_key in ("ms:live:alpha", of_ada):
            await redis.zadd(set_key, {old: seconds * 1_000 + life_ms - 5_000})
        await redis.hset("ms:places:alpha", mapping={old: f"2000 {of_ada}", "": 2000})  # type: ignore[misc]
        assert (await start(client, user="ada")).status_code == 429, "its stream may be created just now"
        for set_key in ("ms:live:alpha", of_ada):
            await redis.zadd(set_key, {old: seconds * 1_000 + life_ms - 60_000})
        await redis.zadd("ms:live:alpha", {new: seconds * 1_000 + life_ms})
        started = await start(client, user="ada")
        assert started.status_code == 201
        assert await redis.zscore("ms:live:alpha", old) is None
        assert (await start(client)).status_code == 429, "there are two, and both may live"
        await delete(client, [started])
        await redis.delete("ms:live:alpha", "ms:places:alpha")


async def test_an_end_that_an_older_process_notes_frees_the_users_place(settings: Settings, redis: Redis) -> None:
    """Limits/Generations: processes of the release before know nothing of the sets in which a stream counts."""
    async with brokers(limited(settings, user_generations=1)) as (client,):
        first = await start(client, user="ada")
        assert (await start(client, user="ada")).status_code == 429
        await redis.zrem("ms:live:alpha", f"alpha/{first.json()['id']}")
        second = await start(client, user="ada")
        assert second.status_code == 201
        await delete(client, [first, second])
        assert await redis.exists("ms:places:alpha") == 0


async def test_a_flooding_tenant_does_not_cost_a_quiet_one_its_starts(settings: Settings) -> None:
    """Limits/Starts, Limits/Generations: beside 300 starts of a tenant that may have three at once."""
    bounded = limited(settings, tenant_generations=3, tenant_starts_per_minute=60)
    async with brokers(bounded, 2) as clients, inside.worker(bounded):
        flood = [asyncio.ensure_future(start(clients[number % 2], ALPHA, **LONG)) for number in range(300)]
        quiet = []
        for number in range(8):
            quiet.append(await start(clients[number % 2], BETA))
            await clients[0].get(f"{quiet[-1].headers['location']}?wait=10", headers=BETA)
        assert {answer.status_code for answer in quiet} == {201}
        loud = await asyncio.gather(*flood)
        assert Counter(answer.status_code for answer in loud) == {201: 3, 429: 297}
        await delete(clients[0], of_status(loud, 201))


@pytest.mark.parametrize("of", ["tenant", "user", "key"])
@pytest.mark.parametrize("most", [0, 10**15])
async def test_the_smallest_and_the_largest_figures_let_starts_in(settings: Settings, of: str, most: int) -> None:
    """Limits/Starts, Limits/Generations, Limits/Stored: they pass through Lua, whose numbers have 53 bits."""
    figures = {f"{of}_generations": most, f"{of}_starts_per_minute": min(most, 6_000_000), "tenant_stored_bytes": most}
    async with brokers(limited(settings, **figures)) as (client,):
        started = [await start(client, user="ada") for _ in range(3)]
        assert [answer.status_code for answer in started] == [201] * 3
        await delete(client, started)


@pytest.mark.parametrize("value", [-1, 10**15 + 1, 1.5, "many"])
@pytest.mark.parametrize("name", ["tenant_generations", "key_generations", "tenant_stored_bytes", "tenant_waits"])
def test_other_figures_are_refused_at_the_start(name: str, value: Any) -> None:
    """Limits/Generations, Operation/Refused."""
    with pytest.raises(ValidationError, match=f"(?i){name}"):
        Settings.model_validate({name: value})
