"""From a provider's events to entries on the log: a real worker, a real broker, a provider that counts. I3, I4."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from midstream.access.timeout_settings import AppTimeouts
from midstream.client.client import Midstream
from midstream.client.client_tail import MidstreamError
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests.contract.worker_runs import MODELS, answer, cancelled_upstream, client_of, paid_by, read, start
from tests.provider.client import ProviderServer

OPENAI, ANTHROPIC, COMPATIBLE = MODELS
REFUSED = Script(words=5, fail="status", fail_at=-1, fail_times=1, status=429, retry_after=0.1)


@pytest.fixture
def settings(settings: Settings, provider: ProviderServer) -> Settings:
    return paid_by(provider.url, settings)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Midstream]:
    async with client_of(settings) as client:
        yield client


@pytest.mark.parametrize("model", MODELS)
async def test_what_a_provider_says_becomes_entries(client: Midstream, provider: ProviderServer, model: str) -> None:
    """Entries/Types."""
    script = Script(words=12, reasoning=3, tool=True, unicode=True)
    got = await answer(client, script, model)
    assert got.end == ("completed", None)
    assert got.joined("text") == script.text()
    if model != COMPATIBLE:  # chat completions have no standard field for it
        assert got.joined("reasoning") == script.reasoning_text()
    (call,) = got.of("tool_call")
    assert call["arguments"] == script.arguments() == "".join(part["delta"] for part in got.of("tool_input"))
    assert got.state["finish_reason"] == "tool_calls"
    assert got.of("usage") == [got.state["usage"]]
    assert got.state["usage"]["output_tokens"] > 0
    assert (got.state["paid_calls"], got.state["epoch"], len(await provider.calls())) == (1, 1, 1)


@pytest.mark.parametrize("model", MODELS)
async def test_a_refusal_before_the_first_delta_is_tried_again_and_paid_once(
    client: Midstream, provider: ProviderServer, model: str
) -> None:
    got = await answer(client, REFUSED, model)
    assert (got.end, got.joined("text")) == (("completed", None), REFUSED.text())
    (status,) = got.of("status")
    assert status == {"state": "retrying", "reason": "provider_rate_limited", "paid": False, "delay_ms": 100}
    assert [call["status"] for call in await provider.requests()] == [429, 200]
    assert (got.state["paid_calls"], len(await provider.calls())) == (1, 1)


@pytest.mark.parametrize(
    ("script", "retry", "code"),
    [
        (REFUSED, "never", "provider_rate_limited"),
        (Script(fail="status", fail_at=-1, status=429, retry_after=3_600), "safe", "provider_rate_limited"),
        (Script(fail="status", fail_at=-1, status=429, error_code="insufficient_quota"), "ambiguous", "provider_quota"),
        (Script(fail="status", fail_at=-1, status=400), "ambiguous", "provider_bad_request"),
        (Script(fail="status", fail_at=-1, status=500), "safe", "provider_error"),
        (Script(fail="reset", fail_at=-1), "safe", "provider_disconnected"),
        (Script(fail="error_event", fail_at=3, error_code="overloaded_error"), "ambiguous", "provider_overloaded"),
    ],
    ids=["never", "asked to wait too long", "no quota", "bad request", "500", "reset", "after the first delta"],
)
async def test_what_is_not_tried_again(
    client: Midstream, provider: ProviderServer, script: Script, retry: str, code: str
) -> None:
    """Sources/Retry."""
    got = await answer(client, script, ANTHROPIC, retry=retry)
    assert got.end == ("failed", code)
    assert len(await provider.requests()) == 1
    assert got.of("status") == []


async def test_what_may_have_been_billed_is_tried_again_by_those_who_accept_it(
    client: Midstream, provider: ProviderServer
) -> None:
    """Sources/Retry."""
    script = Script(words=5, fail="status", fail_at=-1, fail_times=1, status=500, retry_after=0)
    got = await answer(client, script, ANTHROPIC, retry="ambiguous")
    assert (got.end, got.joined("text")) == (("completed", None), script.text())
    assert [(status["reason"], status["paid"]) for status in got.of("status")] == [("provider_error", True)]
    assert (got.state["paid_calls"], len(await provider.calls())) == (2, 2)


async def test_a_further_try_is_on_the_log_before_it_is_made(client: Midstream, provider: ProviderServer) -> None:
    """Sources/Retry: also where the call that failed had an id already, by which it could have been read on."""
    script = Script(words=5, fail="failed_event", fail_at=0, fail_times=1)
    stream_id = await start(client, script, OPENAI, retry="ambiguous")
    async with aclosing(client.tail(stream_id)) as entries:
        async for entry in entries:
            if entry.type == "status":
                break
    assert (entry.data["state"], len(await provider.calls())) == ("retrying", 1)
    got = await read(client, stream_id)
    assert (got.end, got.joined("text"), len(await provider.calls())) == (("completed", None), script.text(), 2)


async def test_tries_have_an_end(client: Midstream, provider: ProviderServer, settings: Settings) -> None:
    """Sources/Retry."""
    got = await answer(client, Script(fail="status", fail_at=-1, status=503, retry_after=0), ANTHROPIC)
    assert got.end == ("failed", "provider_overloaded")
    assert len(await provider.requests()) == settings.retry_attempts
    assert await provider.calls() == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fail", "code"),
    [("eof", "provider_incomplete"), ("reset", "provider_disconnected"), ("garbage", "provider_error")],
)
async def test_an_answer_cut_short_is_a_failure_and_what_there_was_is_kept(
    settings: Settings, provider: ProviderServer, model: str, fail: str, code: str
) -> None:
    foreground = settings.model_copy(update={"openai_background": False})
    script = Script(words=20, fail=fail, fail_at=10)
    async with client_of(foreground) as client:
        got = await answer(client, script, model)
    assert got.end == ("failed", code)
    assert script.text().startswith(got.joined("text"))
    assert got.joined("text").endswith("w9 ")
    assert len(await provider.calls()) == 1


@pytest.mark.parametrize("model", MODELS)
async def test_a_silent_provider_is_given_up(settings: Settings, provider: ProviderServer, model: str) -> None:
    impatient = settings.model_copy(update={"idle_timeout_s": 0.5})
    async with client_of(impatient) as client:
        got = await answer(client, Script(words=20, fail="stall", fail_at=5), model)
        assert got.end == ("failed", "idle_timeout")
        assert (await provider.ended())["connection"] == "client_closed"
    assert got.joined("text").startswith("w0 ")


async def test_an_endless_provider_is_given_up(settings: Settings, provider: ProviderServer) -> None:
    async with client_of(settings.model_copy(update={"generation_timeout_s": 0.5})) as client:
        got = await answer(client, Script(words=10_000, delay_ms=10))
        assert (await provider.ended())["connection"] == "client_closed"
    assert got.end == ("failed", "generation_timeout")


async def test_a_flood_is_cut_off(settings: Settings, provider: ProviderServer) -> None:
    async with client_of(settings.model_copy(update={"max_output_bytes": 2_000})) as client:
        got = await answer(client, Script(words=5_000, delay_ms=1))
        assert (await provider.ended())["connection"] == "client_closed"
    assert got.end == ("failed", "output_too_large")
    assert 1_000 < len(got.joined("text")) <= 2_100


async def test_a_stream_has_no_more_entries_than_the_limit(settings: Settings, provider: ProviderServer) -> None:
    """Limits/Stream: an outcome, and never a cut in silence."""
    async with client_of(settings.model_copy(update={"stream_entries": 20})) as client:
        got = await answer(client, Script(words=2_000, delay_ms=5), chunking={"flush_ms": 0})
        assert (await provider.ended())["connection"] == "client_closed"
    assert got.end == ("failed", "output_too_large")
    assert "MIDSTREAM_STREAM_ENTRIES" in got.of("end")[0]["error"]["message"]
    assert 20 <= len(got.entries) <= 24


async def test_the_first_entry_leaves_at_once_and_later_ones_together(client: Midstream) -> None:
    script = Script(words=30, delay_ms=20)
    merged = await answer(client, script, chunking={"flush_ms": 5_000, "flush_bytes": 65_536})
    assert [data["text"] for data in merged.of("text")] == ["w0 ", script.text().removeprefix("w0 ")]
    single = await answer(client, script, chunking={"flush_ms": 0})
    assert len(single.of("text")) > 20
    assert single.joined("text") == script.text()


async def test_a_model_that_only_the_broker_knows(settings: Settings, provider: ProviderServer) -> None:
    async with client_of(settings, settings.model_copy(update={"providers": {}})) as client:
        got = await answer(client, Script(words=3), COMPATIBLE)
    assert got.end == ("failed", "unknown_model")
    assert await provider.requests() == []
    assert got.state["paid_calls"] == 0


async def test_a_cancel_stops_what_runs_in_the_background_at_the_provider(
    client: Midstream, provider: ProviderServer
) -> None:
    stream_id = await start(client, Script(words=2_000, delay_ms=10), OPENAI)
    async for entry in client.tail(stream_id):
        if entry.type == "text":
            await client.cancel(stream_id)
            break
    got = await read(client, stream_id)
    assert got.end == ("cancelled", None)
    assert (await provider.ended())["connection"] == "client_closed"
    await cancelled_upstream(provider, got)


@pytest.mark.parametrize(
    ("script", "limit", "code"),
    [
        (Script(words=2_000, delay_ms=10, fail="stall", fail_at=5), {"idle_timeout_s": 0.5}, "idle_timeout"),
        (Script(words=2_000, delay_ms=10), {"generation_timeout_s": 0.5}, "generation_timeout"),
        (Script(words=2_000, delay_ms=1), {"max_output_bytes": 1_024}, "output_too_large"),
    ],
)
async def test_whatever_ends_a_stream_ends_its_response_at_the_provider(
    settings: Settings, provider: ProviderServer, script: Script, limit: dict[str, float], code: str
) -> None:
    """Cancel/Upstream."""
    async with client_of(settings.model_copy(update=limit)) as client:
        got = await answer(client, script, OPENAI)
        assert got.end == ("failed", code)
        await cancelled_upstream(provider, got)


async def test_a_request_may_wait_longer_for_a_silent_source(settings: Settings) -> None:
    """Sources/Idle: an app that waits for a person."""
    slow = Script(words=2, first_delay_ms=800)
    limits = {"idle_timeout_s": 0.2, "max_idle_timeout_s": 30.0}
    async with client_of(settings.model_copy(update=limits)) as client:
        assert (await answer(client, slow, COMPATIBLE)).end == ("failed", "idle_timeout")
        assert (await answer(client, slow, COMPATIBLE, idle_timeout_s=20)).end == ("completed", None)
        with pytest.raises(MidstreamError) as caught:
            await start(client, slow, COMPATIBLE, idle_timeout_s=31)
    assert (caught.value.status, caught.value.code) == (400, "bad_request")
    assert caught.value.errors == (("idle_timeout_s", "At most 30 s (MIDSTREAM_MAX_IDLE_TIMEOUT_S)."),)


async def silent(_messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncIterator[str]:
    yield "so far"
    await asyncio.sleep(params["silent_s"])


@pytest.mark.parametrize(
    ("of_app", "of_request", "end"),
    [
        ({"idle_timeout_s": 0.1}, {}, ("failed", "idle_timeout")),
        ({"idle_timeout_s": 0.1}, {"idle_timeout_s": 20}, ("completed", None)),
        ({"generation_timeout_s": 0.1}, {}, ("failed", "generation_timeout")),
        ({"generation_timeout_s": 0.1}, {"generation_timeout_s": 20}, ("completed", None)),
        ({}, {"generation_timeout_s": 0.1}, ("failed", "generation_timeout")),
    ],
)
async def test_an_app_and_a_request_have_time_outs_of_their_own(
    settings: Settings, of_app: dict[str, float], of_request: dict[str, Any], end: tuple[str, str | None]
) -> None:
    """Sources/Idle, Sources/Time."""
    update = {"apps": {"silent": f"{__name__}:silent"}, "app_timeouts": {"silent": AppTimeouts(**of_app)}}
    async with client_of(settings.model_copy(update=update)) as client:
        params = {"silent_s": 0.3 if end[0] == "completed" else 30}
        started = await client.start("Why?", model="app/silent", params=params, **of_request)
        assert (await read(client, started["id"])).end == end
