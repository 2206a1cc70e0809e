"""Workers that drain, are lost or are fenced, and what the next attempt makes of it. I3, I4, I6."""

import asyncio
import json
import time
from contextlib import aclosing
from importlib.util import find_spec
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.access.provider_settings import ProviderServer as OpenAIServer
from midstream.attempts.writer import ROOM_BYTES
from midstream.client.client import Midstream
from midstream.lifecycle.slips import Slips
from midstream.log.connect import keys_of
from midstream.log.log import Log
from midstream.log.values import Notes
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from midstream_worker.producers import Producers
from tests import inside
from tests.contract.lost_workers import LOST_LEASE_MS, claim_and_vanish
from tests.contract.new_streams import create
from tests.contract.worker_runs import MODELS, client_alone, client_of, paid_by, read, start
from tests.provider.client import ProviderServer

OPENAI, ANTHROPIC, _ = MODELS
LONG = Script(words=100, delay_ms=10)
GEMINI = pytest.param(
    "gemini/some-model",
    "interactions",
    marks=pytest.mark.skipif(
        not (find_spec("google") and find_spec("google.genai")), reason="midstream[gemini] is not installed"
    ),
)


@pytest.fixture
def settings(settings: Settings, provider: ProviderServer) -> Settings:
    return paid_by(provider.url, settings, drain_s=0)


def served_by(settings: Settings, url: str, **server: Any) -> Settings:
    """Return settings by which `vllm` is a server with the Responses API at this address."""
    whole = {"url": url, "dialect": "responses", "background": True} | server
    return settings.model_copy(update={"providers": {"vllm": OpenAIServer.model_validate(whole)}})


async def has_text(client: Midstream, stream_id: str, words: str = "") -> None:
    """Return once the stream holds some of the answer, with these words in it."""
    async with aclosing(client.tail(stream_id)) as entries:
        async for entry in entries:
            if entry.type == "text" and words in entry.data["text"]:
                return


@pytest.mark.parametrize(
    ("model", "api"),
    [(OPENAI, "responses"), ("vllm/some-model", "responses"), GEMINI],
)
async def test_a_drained_worker_hands_over_and_the_next_one_reads_the_same_call_on(
    settings: Settings, provider: ProviderServer, model: str, api: str
) -> None:
    """Drain/Handover, Intent/Upstream, Intent/Servers, Intent/Gemini, Recovery/Begin."""
    settings = served_by(settings, f"{provider.url}/v1")
    async with client_alone(settings) as client:
        async with inside.worker(settings):
            stream_id = await start(client, LONG, model)
            await has_text(client, stream_id)
        handed_over = await client.state(stream_id)
        async with inside.worker(settings):
            got = await read(client, stream_id)
    assert handed_over["status"] == "queued"
    assert (got.end, got.joined("text")) == (("completed", None), LONG.text())
    assert [status["state"] for status in got.of("status")] == ["reattaching"]
    assert [entry["epoch"] for entry in got.of("start")] == [1, 2]
    assert (got.state["paid_calls"], len(await provider.calls())) == (1, 1)
    assert [call["api"] for call in await provider.requests()] == [api, "retrieve"]


async def test_without_background_nobody_reads_a_call_on(settings: Settings, provider: ProviderServer) -> None:
    """Intent/Servers."""
    settings = served_by(settings, f"{provider.url}/v1", background=False)
    async with client_alone(settings) as client:
        async with inside.worker(settings):
            stream_id = await start(client, LONG, "vllm/some-model")
            await has_text(client, stream_id)
        async with inside.worker(settings):
            got = await read(client, stream_id)
    assert got.end == ("interrupted", "worker_lost")
    assert [call["api"] for call in await provider.requests()] == ["responses"]


async def test_another_midstream_can_be_the_upstream(settings: Settings, provider: ProviderServer) -> None:
    """Intent/Servers."""
    upstream = settings.model_copy(update={"key_prefix": "up"})
    async with inside.broker(upstream) as http, inside.worker(upstream):
        own = served_by(settings, f"{http.base_url}/v1")
        async with client_alone(own) as client:
            async with inside.worker(own):
                stream_id = await start(client, LONG, f"vllm/{OPENAI}")
                await has_text(client, stream_id)
            async with inside.worker(own):
                got = await read(client, stream_id)
    assert (got.end, got.joined("text")) == (("completed", None), LONG.text())
    assert [status["state"] for status in got.of("status")] == ["reattaching"]
    assert len(await provider.calls()) == 1


async def test_no_words_are_read_twice_however_long_they_are(settings: Settings, provider: ProviderServer) -> None:
    """Each worker reads one word, which alone is more than may wait for Redis. Intent/Upstream, Recovery/Begin."""
    script = Script(words=3, dots=ROOM_BYTES, delay_ms=500)
    async with client_alone(settings) as client:
        async with inside.worker(settings):
            stream_id = await start(client, script, OPENAI)
            await has_text(client, stream_id, ".0 ")
        async with inside.worker(settings):
            await has_text(client, stream_id, ".1 ")
        async with inside.worker(settings):
            got = await read(client, stream_id)
    assert got.end == ("completed", None)
    assert [entry["epoch"] for entry in got.of("start")] == [1, 2, 3]
    assert got.joined("text").replace(".", "") == "w0 w1 w2 "
    assert got.joined("text") == script.text()
    assert len(await provider.calls()) == 1


async def test_a_drained_worker_ends_what_nobody_can_read_on(settings: Settings, provider: ProviderServer) -> None:
    """Drain/Handover."""
    async with client_alone(settings) as client:
        async with inside.worker(settings):
            stream_id = await start(client, LONG, ANTHROPIC)
            await has_text(client, stream_id)
        assert (await client.state(stream_id))["status"] == "ended"  # at once, not when the lease has run out
        got = await read(client, stream_id)
    assert got.end == ("interrupted", "worker_lost")
    assert (await provider.ended())["connection"] == "client_closed"
    assert len(await provider.calls()) == 1


async def test_a_draining_worker_lets_finish_what_can(settings: Settings) -> None:
    """Drain/Handover."""
    patient = settings.model_copy(update={"drain_s": 10.0})
    async with client_alone(settings) as client:
        async with inside.worker(patient):
            stream_id = await start(client, LONG, ANTHROPIC)
            await has_text(client, stream_id)
        got = await read(client, stream_id)
    assert (got.end, got.joined("text")) == (("completed", None), LONG.text())


async def test_a_stream_that_is_claimed_during_a_drain_is_let_finish_too(settings: Settings, redis: Redis) -> None:
    """Drain/Handover: a poll of the queue, or a claim, may have been under way when the worker was told to stop."""
    first, late = Script(words=5, delay_ms=10), Script(words=30, delay_ms=10)
    async with client_alone(settings) as client, inside.worker(settings) as worker:
        producers: Producers = vars(worker)["_producers"]
        first_id = await start(client, first, ANTHROPIC)
        await has_text(client, first_id)
        draining = asyncio.create_task(producers.drain(10.0))
        await asyncio.sleep(0)
        request = json.dumps({"model": ANTHROPIC, "input": directive(late)}).encode()
        await create(Log(redis, "ms"), "late", tenant="default", model=ANTHROPIC, request=request)
        await producers.take("late")
        await draining
        outcomes = [(await client.state(each))["outcome"] for each in (first_id, "late")]
    assert outcomes == ["completed", "completed"]


async def test_a_producer_that_lost_its_lease_stops_and_writes_nothing_more(
    settings: Settings, provider: ProviderServer, redis: Redis
) -> None:
    async with client_of(settings) as client:
        stream_id = await start(client, Script(words=2_000, delay_ms=10), ANTHROPIC)
        await has_text(client, stream_id)
        # As if another attempt had taken over, and had died at once.
        taken_over: Any = redis.hset(keys_of(redis, "ms").state(stream_id), mapping={"epoch": 2, "owner": "other"})
        await taken_over
        assert (await provider.ended())["connection"] == "client_closed"
        _, rows = await Log(redis, "ms").read(stream_id, 0, 1_000)
        got = await read(client, stream_id)
    assert got.end == ("interrupted", "worker_lost")
    assert len(got.entries) == len(rows) + 1


async def test_a_producer_whose_stream_is_gone_stops(
    settings: Settings, provider: ProviderServer, redis: Redis
) -> None:
    """Append/Absent."""
    async with client_of(settings) as client:
        stream_id = await start(client, Script(words=2_000, delay_ms=10), ANTHROPIC)
        await has_text(client, stream_id)
        keys = keys_of(redis, "ms")
        await redis.delete(keys.state(stream_id), keys.log(stream_id))
        assert (await provider.ended())["connection"] == "client_closed"
        while await redis.zcard(keys.near(stream_id).due):  # the reaper forgets it too
            await asyncio.sleep(0.02)
        assert await redis.exists(keys.state(stream_id), keys.log(stream_id)) == 0


async def test_a_worker_lost_before_its_call_costs_nothing(
    settings: Settings, provider: ProviderServer, redis: Redis
) -> None:
    """Intent/Mark, Recovery/Begin."""
    script = Script(words=5)
    async with client_alone(settings) as client:
        stream_id = await start(client, script, ANTHROPIC)
        await claim_and_vanish(redis, stream_id)
        async with inside.worker(settings):
            got = await read(client, stream_id)
    assert (got.end, got.joined("text")) == (("completed", None), script.text())
    assert (got.state["epoch"], got.state["paid_calls"], len(await provider.calls())) == (2, 1, 1)


async def test_continue_quotes_the_answer_so_far_and_goes_on_after_it(
    settings: Settings, provider: ProviderServer, redis: Redis
) -> None:
    """Recovery/Begin."""
    async with client_alone(settings) as client:
        stream_id = await start(client, Script(words=5), ANTHROPIC, on_worker_loss="continue")
        await claim_and_vanish(redis, stream_id, "Half of ", notes=Notes(intent=1, paid=1))
        async with inside.worker(settings):
            got = await read(client, stream_id)
    assert got.end == ("completed", None)
    assert got.joined("text").startswith("Half of ")
    assert [(status["state"], status["paid"]) for status in got.of("status")] == [("continuing", True)]
    assert (got.of("reset"), got.state["paid_calls"]) == ([], 2)
    (call,) = await provider.calls()
    *_, quoted, request = call["body"]["messages"]
    assert "Half of" in str(quoted["content"])
    assert "Half of" in str(request["content"])


async def test_a_queued_stream_that_no_policy_lets_run_again_is_interrupted(
    settings: Settings, provider: ProviderServer, redis: Redis, queue: Redis
) -> None:
    """A drain can fall between the mark and the knowledge of it: the next worker finds an intent without a call.

    Intent/Mark, Recovery/Begin.
    """
    async with client_alone(settings) as client:
        stream_id = await start(client, Script(words=5), ANTHROPIC)
        fence = await claim_and_vanish(redis, stream_id, notes=Notes(intent=1, paid=1))
        await Log(redis, "ms").release(stream_id, fence)
        await Slips(queue, "ms", 60).write(stream_id, fence.epoch)
        async with inside.worker(settings):
            got = await read(client, stream_id)
    assert got.end == ("interrupted", "worker_lost")
    assert await provider.requests() == []


@pytest.mark.leaves("the slips of streams that nobody took stay there until they expire", keys=["ms:queue", "ms:due"])
async def test_repeating_a_start_does_not_put_off_the_truth(settings: Settings, redis: Redis) -> None:
    """Without a worker: a broker's own reaper ends the stream within its lease and a second (I3)."""
    async with client_alone(settings) as client:
        stream_id = await start(client, LONG, ANTHROPIC, idempotency_key="again and again")
        await claim_and_vanish(redis, stream_id, notes=Notes(intent=1, paid=1))
        lost_s = time.monotonic()
        while (await client.state(stream_id))["status"] != "ended":
            assert time.monotonic() - lost_s < LOST_LEASE_MS / 1_000 + settings.lease_ms / 1_000 + 1
            assert await start(client, LONG, ANTHROPIC, idempotency_key="again and again") == stream_id
        assert (await read(client, stream_id)).end == ("interrupted", "worker_lost")
