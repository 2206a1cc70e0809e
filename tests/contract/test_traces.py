"""One trace tells of a generation, over all processes that had a part in it. PROTOCOL: Traces."""

import asyncio
import io
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.access.api_keys import digest
from midstream.journal.line_format import formatter
from midstream.log.state import State
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from midstream.traces.open_tracing import open_tracing
from midstream.traces.tracing import CallReport
from tests import inside
from tests.contract.worker_runs import paid_by
from tests.provider.client import ProviderServer
from tests.secrets_watch import PLANTED
from tests.servers import free_port
from tests.system import System, stop

pytest.importorskip("opentelemetry.sdk", reason="midstream[otel] is not installed")

from opentelemetry.trace import format_span_id, get_current_span

from tests.collector import Collector, Received, collecting, lines, silent

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"
SENDERS = ("traces", "Otel")
"""How the names of threads begin that send spans: ours, and the SDK's."""
COUNT = {"model": "demo/count", "input": "swordfish", "params": {"words": 3, "delay_ms": 1}}


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector that what is started in this process sends its spans to, soon."""
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield collector


def named(spans: list[Received], *names: str) -> list[Received]:
    return [span for span in spans if span.name in names]


async def run(settings: Settings, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """Run a generation by a broker and a worker, and return its state at the end."""
    async with inside.broker(settings) as client, inside.worker(settings):
        started = await client.post("/v1/streams", json=body, headers=headers)
        assert started.status_code == 201, started.text
        state: dict[str, Any] = (await client.get(f"/v1/streams/{started.json()['id']}", params={"wait": 15})).json()
        return state


async def test_a_generation_is_one_trace_over_three_processes(redis_url: str, tmp_path: Path) -> None:
    """PROTOCOL: Traces/One, Traces/Spans, Traces/Lines. With `pytest -s` it shows the trace."""
    async with collecting() as collector, System(redis_url, tmp_path, lease_ms=600) as system:
        system.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
        await system.start()
        body = COUNT | {"params": {"words": 30, "delay_ms": 20}, "on_worker_loss": "restart", "thread": "th-1"}
        started = await system.http.post("/v1/streams", json=body, headers={"traceparent": PARENT})
        await collector.until(lambda spans: named(spans, "claim"))
        await stop(system.workers[0], signal.SIGKILL)
        await system.start_worker()
        await system.ended(started.json()["id"])
        spans = await collector.until(lambda spans: named(spans, "end") and len(named(spans, "attempt")) == 2)
        logged = [json.loads(line) for line in system.log("broker0").splitlines()]
    sys.stdout.write("\n".join(("", *lines(spans), "")))
    assert {span.trace_id for span in spans} == {TRACE}
    assert len({span.process for span in spans}) == 3, "a broker, a worker that was killed, and another one"
    (start,) = named(spans, "start")
    first, second = named(spans, "attempt")
    assert start.parent_id == PARENT.split("-")[2]
    assert {span.parent_id for span in named(spans, "queue", "attempt")} == {start.span_id}
    assert [span.parent_id for span in named(spans, "claim")] == [first.span_id, second.span_id]
    assert [(each.facts["midstream.attempt"], each.is_error) for each in (first, second)] == [(1, True), (2, False)]
    assert first.facts["midstream.worker"] != second.facts["midstream.worker"], "whose attempt it was tells the reaper"
    assert (first.facts["error.type"], second.events) == ("worker_lost", ["first_entry"])
    (verdict,) = named(spans, "verdict")
    assert (verdict.parent_id, verdict.facts["midstream.verdict"]) == (first.span_id, "requeued")
    call, end = named(spans, "chat count")[-1], named(spans, "end")[-1]
    assert (call.parent_id, end.parent_id) == (second.span_id, second.span_id)
    assert (call.facts["gen_ai.conversation.id"], end.facts["midstream.outcome"]) == ("th-1", "completed")
    assert not PLANTED.search(collector.raw.decode("latin-1"))
    assert [each["trace_id"] for each in logged if each.get("act") == "start"] == [TRACE]


async def test_a_call_is_told_by_the_genai_conventions(
    settings: Settings, provider: ProviderServer, collector: Collector
) -> None:
    """PROTOCOL: Traces/Calls, Traces/Private."""
    script = Script(words=3, fail="status", fail_at=-1, status=429, retry_after=0, fail_times=1)
    body = {
        "model": "openai/gpt-5.4",
        "input": directive(script),
        "params": {"max_output_tokens": 99, "user": "swordfish"},
    }
    state = await run(paid_by(provider.url, settings), body)
    assert state["outcome"] == "completed"
    spans = await collector.until(lambda spans: named(spans, "attempt"))
    refused, answered = named(spans, "chat gpt-5.4")
    assert (refused.facts["error.type"], refused.is_error) == ("provider_rate_limited", True)
    assert (answered.kind, answered.is_error) == (3, False), "a client"
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5.4",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.id": state["upstream_id"],
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": state["usage"]["input_tokens"],
        "gen_ai.usage.output_tokens": state["usage"]["output_tokens"],
    }
    assert {name: answered.facts[name] for name in expected} == expected
    assert answered.facts["gen_ai.response.time_to_first_chunk"] > 0
    assert not PLANTED.search(collector.raw.decode("latin-1")), "neither prompt nor answer nor key"


async def traced(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield format_span_id(get_current_span().get_span_context().span_id)


async def test_spans_of_an_app_belong_to_its_call(settings: Settings, collector: Collector) -> None:
    """PROTOCOL: Traces/Calls."""
    with_app = settings.model_copy(update={"apps": {"traced": f"{__name__}:traced"}})
    state = await run(with_app, {"model": "app/traced", "input": "x"})
    (call,) = named(await collector.until(lambda spans: named(spans, "attempt")), "chat traced")
    assert state["output"]["text"] == call.span_id


@pytest.mark.leaves("slips that no worker is there to take", keys=["ms:queue"])
async def test_whose_trace_it_is(settings: Settings, collector: Collector, redis: Redis) -> None:
    """PROTOCOL: Traces/Parent."""
    keyed = Settings.model_validate({**settings.model_dump(), "api_keys": f"{'k' * 32}:acme"})
    async with inside.broker(keyed) as client:
        refused = await client.post("/v1/streams", json=COUNT, headers={"traceparent": PARENT})
        assert refused.status_code == 401
        client.headers["authorization"] = f"Bearer {'k' * 32}"
        for number, parent in enumerate((UNSAMPLED, "00-swordfish", f"00-{'0' * 32}-b7ad6b7169203331-01", PARENT)):
            headers = {"traceparent": parent, "idempotency-key": str(number)}
            (await client.post("/v1/streams", json=COUNT, headers=headers)).raise_for_status()
        again = await client.post("/v1/streams", json=COUNT, headers={"idempotency-key": "3"})
        assert again.status_code == 200
        spans = await collector.until(lambda spans: len(named(spans, "start")) == 4)
        malformed, zero, parents, joined = spans
        assert (malformed.parent_id, zero.parent_id) == ("", "")
        assert TRACE not in (malformed.trace_id, zero.trace_id)
        assert (parents.trace_id, joined.links) == (TRACE, [TRACE]), (
            "a start that joins its stream has a trace of its own"
        )
        states = [key async for key in redis.scan_iter("ms:*:state")]
        kept = {(await redis.hget(key, "trace") or b"").decode() for key in states}  # type: ignore[misc]
        assert len(kept) == 4
        assert {each[-2:] for each in kept if TRACE in each} == {"00", "01"}
        for row in (await client.get("/v1/streams")).json()["data"]:
            await client.post(f"/v1/streams/{row['id']}/cancel")
        ends = await collector.until(lambda spans: len(named(spans, "end")) == 3)
        assert {span.facts["midstream.outcome"] for span in named(ends, "end")} == {"cancelled"}


@pytest.mark.leaves("a slip that no worker is there to take", keys=["ms:queue"])
async def test_a_reaper_tells_how_it_ended_a_stream(settings: Settings, collector: Collector) -> None:
    """PROTOCOL: Traces/Spans."""
    async with inside.broker(settings.model_copy(update={"queue_timeout_s": 0.1})) as client:
        started = await client.post("/v1/streams", json=COUNT)
        await client.get(f"/v1/streams/{started.json()['id']}", params={"wait": 10})
        spans = await collector.until(lambda spans: named(spans, "end"))
    assert sorted(span.name for span in spans) == ["end", "queue", "start", "verdict"]
    (end,) = named(spans, "end")
    assert (end.facts["error.type"], end.facts["midstream.outcome"]) == ("queue_timeout", "failed")


async def test_a_collector_that_is_dead_or_silent_slows_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PROTOCOL: Traces/Bounded."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    own = settings.model_copy(update={"traces_exit_s": 0.2})
    async with silent() as address:
        for endpoint in (address, f"http://127.0.0.1:{free_port()}"):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            began_s = time.monotonic()
            async with asyncio.timeout(5):
                for _ in range(2):
                    assert (await run(own, COUNT))["outcome"] == "completed"
            assert time.monotonic() - began_s < 4
    for thread in threading.enumerate():
        if thread.name.startswith(SENDERS):
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive(), f"{thread.name} goes on sending"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OTEL_TRACES_EXPORTER", "console", "OTEL_TRACES_EXPORTER=console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke", "smoke"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        ("OTEL_TRACES_EXPORTER", "none", ""),
        ("OTEL_SDK_DISABLED", "true", ""),
    ],
)
async def test_variables_that_fit_nothing_are_named_and_cost_no_stream(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, redis: Redis, name: str, value: str, says: str
) -> None:
    """PROTOCOL: Traces/Off."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(formatter(as_json=True))
    logging.getLogger("midstream.traces").addHandler(handler)
    try:
        assert (await run(settings, COUNT))["outcome"] == "completed"
    finally:
        logging.getLogger("midstream.traces").removeHandler(handler)
    logged: str = handler.stream.getvalue()
    assert says in logged
    assert bool(says) == bool(logged)
    async for key in redis.scan_iter("ms:*:state"):
        assert not await redis.hexists(key, "trace")  # type: ignore[misc]


def test_without_variables_nothing_is_imported() -> None:
    """PROTOCOL: Traces/Off."""
    code = "import sys, midstream.http.app, midstream_worker.process; print([*sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "midstream.traces.tracing" in done.stdout
    assert "opentelemetry.sdk" not in done.stdout
    assert "midstream.traces.spans" not in done.stdout


@pytest.mark.leaves("slips that no worker is there to take", keys=["ms:queue", "ms:secret", "ms:trail"])
async def test_what_an_operator_did_is_in_the_trace(settings: Settings, collector: Collector, tmp_path: Path) -> None:
    """PROTOCOL: Traces/Spans."""
    row = '[[keys]]\nname = "{0}"\nsha256 = "{1}"\ntenant = "acme"\nscopes = ["{2}"]\n'
    (tmp_path / "keys.toml").write_text(
        row.format("ada", digest("ada"), "start") + row.format("ops", digest("ops"), "operate")
    )
    async with inside.broker(settings.model_copy(update={"keys_file": tmp_path / "keys.toml"})) as client:
        started = await client.post("/v1/streams", json=COUNT, headers={"authorization": "Bearer ada"})
        client.headers["authorization"] = "Bearer ops"
        path = f"/v1/operate/streams/acme/{started.json()['id']}"
        (await client.post(f"{path}/seal", json={"reason": "swordfish"})).raise_for_status()
        again = await client.post(f"{path}/requeue", json={})
        assert again.status_code == 201, again.text
        spans = await collector.until(lambda spans: len(named(spans, "start")) == 2 and named(spans, "end"))
        stream_id = again.json()["id"]
        report = (await client.get(f"/v1/operate/streams/acme/{stream_id}")).json()
        await client.post(f"/v1/operate/streams/acme/{stream_id}/cancel")
    first, second = named(spans, "start")
    (end,) = named(spans, "end")
    assert (end.trace_id, end.facts["error.type"]) == (first.trace_id, "sealed_by_operator")
    assert second.links == [first.trace_id] != [second.trace_id]
    assert (second.facts["midstream.stream.id"], report["trace_id"]) == (stream_id, second.trace_id)
    assert not PLANTED.search(collector.raw.decode("latin-1"))


async def test_figures_that_fit_nothing_cost_no_other_span(settings: Settings, collector: Collector) -> None:
    """PROTOCOL: Traces/Bounded."""
    tracing = open_tracing("worker", settings)
    state = State(trace=PARENT, epoch=1, model="openai/x", started_ms=1, queued_ms=-5)
    attempt = tracing.attempt("s", state, 60.0)
    call = attempt.call({"seed": 2**64, "temperature": 10**400, "top_p": 0.5}, is_new=True)
    call.end(CallReport(upstream_id="i" * 100_000, tokens={"input_tokens": 2**70}))
    attempt.first_entry(-1)
    attempt.sealed("completed", "", -1e6, -1e6)
    attempt.end()
    await tracing.stop()
    assert {span.name for span in collector.spans} == {"queue", "attempt", "claim", "chat x", "end"}
    (chat,) = named(collector.spans, "chat x")
    assert {name for name in chat.facts if name.startswith("gen_ai.request.")} == {
        *("gen_ai.request.model", "gen_ai.request.stream", "gen_ai.request.top_p")
    }
    assert len(chat.facts["gen_ai.response.id"]) == 256
