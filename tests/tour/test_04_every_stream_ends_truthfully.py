"""Every stream ends with exactly one `end` entry, and that entry tells what happened.

A connection that is cut is no end: only the entry is. So a client never takes half an answer for a whole one.
"""

import signal
from pathlib import Path
from typing import Any

import httpx2

from midstream.client.client import Midstream
from midstream.testing.provider.script import Script, directive
from tests.provider.client import ProviderServer
from tests.system import System, stop


async def _end_of(midstream: Midstream, stream_id: str) -> dict[str, Any]:
    """Return the data of a stream's one `end` entry."""
    entries = [entry async for entry in midstream.tail(stream_id)]
    ends = [entry for entry in entries if entry.type == "end"]
    assert ends == entries[-1:]
    return ends[0].data


async def test_completed(midstream: Midstream, provider: ProviderServer) -> None:
    """The provider itself said that it was done. `finish_reason`, `usage` and timings come with the end."""
    script = Script(words=5)
    stream = await midstream.start(directive(script), model="openai/gpt-test")

    end = await _end_of(midstream, stream["id"])

    assert (end["outcome"], end["finish_reason"], end["error"]) == ("completed", "stop", None)
    assert end["usage"]["output_tokens"] > 0
    assert end["timings"]["total_ms"] >= end["timings"]["first_delta_ms"] >= 0
    assert len(await provider.calls()) == 1


async def test_failed_where_the_provider_refuses(midstream: Midstream, provider: ProviderServer) -> None:
    """A provider's refusal has a code that programs can go by, and a sentence for people, free of secrets."""
    script = Script(fail="status", fail_at=-1, status=401)
    stream = await midstream.start(directive(script), model="anthropic/claude-test")

    end = await _end_of(midstream, stream["id"])

    assert (end["outcome"], end["error"]["code"]) == ("failed", "provider_auth")
    assert "sk-ant-test" not in end["error"]["message"]
    assert await provider.calls() == []


async def test_failed_where_the_provider_stops_in_mid_sentence(midstream: Midstream, provider: ProviderServer) -> None:
    """A stream that ends politely, but without the provider's own word that it is over, was cut: it is no success."""
    script = Script(words=20, fail="eof", fail_at=10)
    stream = await midstream.start(directive(script), model="anthropic/claude-test")

    end = await _end_of(midstream, stream["id"])

    assert (end["outcome"], end["error"]["code"]) == ("failed", "provider_incomplete")
    kept = (await midstream.state(stream["id"], wait_s=1))["output"]["text"]
    assert kept.startswith("w0 w1 ")  # what there was is kept
    assert script.text().startswith(kept)
    assert len(await provider.calls()) == 1


async def test_cancelled(midstream: Midstream) -> None:
    """Somebody asked for a stop."""
    stream = await midstream.start("Count.", model="demo/count", params={"words": 100_000})

    await midstream.cancel(stream["id"])

    assert (await _end_of(midstream, stream["id"]))["outcome"] == "cancelled"


async def test_interrupted(
    redis_url: str, queue_road: dict[str, str], provider: ProviderServer, tmp_path: Path
) -> None:
    """The worker was lost, and another call would cost a second time. Within a lease and a second the end says so.

    Nobody was left to say it but the broker's reaper: it watches every stream that has not ended.
    """
    script = Script(words=1_000, delay_ms=20)
    async with System(redis_url, tmp_path, provider.url, **queue_road) as system, Midstream(system.url) as midstream:
        await system.start()
        stream = await midstream.start(directive(script), model="anthropic/claude-test")
        await provider.begun()

        await stop(system.workers[0], signal.SIGKILL)
        end = await _end_of(midstream, stream["id"])

    assert (end["outcome"], end["error"]["code"]) == ("interrupted", "worker_lost")
    assert len(await provider.calls()) == 1


async def test_a_request_that_can_not_be_run_is_refused_before_there_is_a_stream(http: httpx2.AsyncClient) -> None:
    """Errors of the request are HTTP problem documents, each with a code of its own."""
    answer = await http.post("/v1/streams", json={"model": "nobody/nothing", "input": "Hello"})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unknown_model"
    assert (await http.get("/v1/streams")).json()["data"] == []
