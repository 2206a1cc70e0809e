"""Filters between a source and the log: what they do not let through is never logged (PROTOCOL: Filter)."""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

import midstream
from midstream.attempts.delta import Reasoning, Text
from midstream.client.client import Midstream
from midstream.filters.filter import FilterContext
from midstream.log.values import Notes
from midstream.producer.producer import Producer
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from midstream_worker.worker_filters import FilterError, filters_of
from tests import inside
from tests.contract.lost_workers import claim_and_vanish
from tests.contract.worker_runs import MODELS, cancelled_upstream, client_alone, client_of, paid_by, read, start
from tests.provider.client import ProviderServer

OPENAI, ANTHROPIC, _ = MODELS
PASSWORD = "swordfish"
LONG = Script(words=40, delay_ms=10)
over = threading.Event()
"""Ends what cannot be cancelled; it belongs to no loop."""


def shout(delta: Any, _context: FilterContext) -> Any:
    return Text(delta.text.upper()) if isinstance(delta, Text) else delta


async def moderate(delta: Any, context: FilterContext) -> Any:
    await asyncio.sleep(0)
    if "w5" in context.text + getattr(delta, "text", ""):
        raise midstream.Blocked(f"It speaks of w5, says {context.model}.")
    return delta


def whole_words(delta: Any, context: FilterContext) -> Any:
    if context.is_last or not isinstance(delta, Text):
        return delta
    head, space, rest = delta.text.rpartition(" ")
    return [Text(head + space), midstream.Hold(Text(rest))]


def tells_its_text(delta: Any, context: FilterContext) -> Any:
    first, context.memory["asked"] = "asked" not in context.memory, True
    return [Text(f"<{context.text}>"), delta] if first else delta


def no_thoughts(delta: Any, _context: FilterContext) -> Any:
    return None if isinstance(delta, Reasoning) else delta


def raising(_delta: Any, _context: FilterContext) -> Any:
    raise RuntimeError(f"the password is {PASSWORD}")


def greedy(delta: Any, _context: FilterContext) -> Any:
    return midstream.Hold(delta)


async def hangs(delta: Any, _context: FilterContext) -> Any:
    await asyncio.sleep(60)
    return delta


async def deaf(delta: Any, _context: FilterContext) -> Any:
    while not over.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
    return delta


async def deaf_app(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[Any]:
    yield await deaf("too late", FilterContext("", "", "", {}))


def unfit(_delta: Any, _context: FilterContext) -> Any:
    return [5]


def generates(delta: Any, _context: FilterContext) -> Any:
    yield delta


def lonely() -> None: ...


async def app(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[Any]:
    yield Reasoning("my sk-aaaaaaaaaaaa is")
    for piece in ("the key is s", "k-abcdef", "ghijkl and", " w", "5"):
        yield piece


def filtered(settings: Settings, *names: str, **more: Any) -> Settings:
    filters = ",".join(f"{name}={__name__}:{name}" for name in names)
    return settings.model_copy(update={"filters": filters, **more})


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"apps": {"own": f"{__name__}:app", "deaf": f"{__name__}:deaf_app"}})


async def answer_of(client: Midstream, model: str = "app/own") -> Any:
    return await read(client, (await client.start("Hi", model=model))["id"])


async def test_filters_change_what_is_logged_in_their_order(settings: Settings) -> None:
    """Filter/Function, Filter/Order, Filter/Redaction."""
    run = filtered(settings, "no_thoughts", "generates", "shout", redact={"key": "SK-[A-Z]{8,}"})
    async with client_of(settings, run) as client:
        got = await answer_of(client)
    assert (got.end, got.joined("text"), got.of("reasoning")) == (("completed", None), "THE KEY IS [key] AND W5", [])


async def test_a_filter_stops_the_answer_and_the_call(settings: Settings, provider: ProviderServer) -> None:
    """Filter/Stop."""
    paid = paid_by(provider.url, settings)
    async with client_of(paid, filtered(paid, "moderate")) as client:
        for model in (ANTHROPIC, OPENAI):
            got = await read(client, await start(client, LONG, model))
            reason = f"It speaks of w5, says {model}."
            assert got.of("data") == [{"kind": "content_filter", "filter": "moderate", "reason": reason}]
            assert (got.end, got.state["finish_reason"]) == (("completed", None), "content_filter")
            assert got.joined("text") == "w0 w1 w2 w3 w4 "
            if model == OPENAI:
                await cancelled_upstream(provider, got)
    async with asyncio.timeout(5):
        ended = await provider.ended()
    assert ended["connection"] == "client_closed"


@pytest.mark.parametrize(
    ("name", "end", "words"),
    [
        ("raising", "filter_failed", "The filter raising raised RuntimeError."),
        ("unfit", "filter_failed", "The filter unfit returned int, which is neither"),
        ("hangs", "filter_timeout", "The filter hangs took longer than 0.05 s."),
        ("greedy", "filter_failed", "The filter greedy held back more than MIDSTREAM_FILTER_HOLD_BYTES."),
    ],
)
async def test_nothing_passes_a_filter_that_fails(settings: Settings, name: str, end: str, words: str) -> None:
    """Filter/Failed, Filter/Hold."""
    run = filtered(settings, name, filter_timeout_s=0.05, filter_hold_bytes=16)
    async with client_of(settings, run) as client:
        got = await answer_of(client)
    assert (got.end, got.of("text")) == (("failed", end), [])
    assert words in got.of("end")[0]["error"]["message"]
    assert PASSWORD not in str(got.entries)


@pytest.mark.parametrize(("model", "filters"), [("app/own", ("deaf",)), ("app/deaf", ())])
async def test_what_cannot_be_cancelled_ends_with_its_time(settings: Settings, model: str, filters: Any) -> None:
    """Sources/Time, Filter/Failed."""
    over.clear()
    async with client_of(settings, filtered(settings, *filters, filter_timeout_s=0.05)) as client:
        stream_id = (await client.start("Hi", model=model, generation_timeout_s=0.2))["id"]
        got = await read(client, stream_id)
        over.set()
    assert (got.end, got.of("text")) == (("failed", "generation_timeout"), [])


async def test_a_reattached_answer_has_every_word_once(settings: Settings, provider: ProviderServer) -> None:
    """A filter that mostly holds something back, and a worker that is lost: Filter/Attempts, Filter/Hold. I5."""
    paid = paid_by(provider.url, settings, drain_s=0)
    async with client_alone(paid) as client:
        async with inside.worker(filtered(paid, "whole_words", drain_s=0)):
            stream_id = await start(client, Script(words=60, delay_ms=10, split=True), OPENAI)
            async for entry in client.tail(stream_id):
                if entry.type == "text" and "w20" in entry.data["text"]:
                    break
        async with inside.worker(filtered(paid, "whole_words", "tells_its_text")):
            got = await read(client, stream_id)
    begun, _, rest = got.joined("text").partition("<")
    assert begun
    assert rest == begun + ">" + Script(words=60, split=True).text()[len(begun) :]
    assert [status["state"] for status in got.of("status")] == ["reattaching"]


async def test_a_continued_answer_is_known_to_the_filter(
    settings: Settings, provider: ProviderServer, redis: Redis
) -> None:
    """Filter/Attempts."""
    paid = paid_by(provider.url, settings)
    async with client_alone(paid) as client:
        stream_id = await start(client, Script(words=5), ANTHROPIC, on_worker_loss="continue")
        await claim_and_vanish(redis, stream_id, "Half of ", notes=Notes(intent=1, paid=1))
        async with inside.worker(filtered(paid, "tells_its_text")):
            got = await read(client, stream_id)
    assert got.joined("text").startswith("Half of <Half of >w0 w1 ")


async def written(out: Producer, *pieces: str) -> None:
    async with out:
        for piece in pieces:
            await out.text(piece)


async def test_a_producer_has_filters_of_its_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filter/Order, Filter/Stop, Filter/Failed."""
    monkeypatch.setenv("MIDSTREAM_REDIS_URL", settings.redis_address)
    async with client_alone(settings) as client:
        async with midstream.produce(filters=[midstream.redact({"key": "sk-[a-z]+"}), shout]) as out:
            await out.text("a sk-")
            await out.text("abc")
        got = await read(client, out.id)
        assert (got.end, got.joined("text")) == (("completed", None), "A [KEY]")
        out = midstream.produce(filters=[moderate])
        with pytest.raises(midstream.ProduceError, match="A filter has stopped") as caught:
            await written(out, "w4 ", "w5")
        got = await read(client, out.id)
        assert caught.value.code == "content_filter"
        assert (got.end, got.state["finish_reason"], got.joined("text")) == (
            ("completed", None),
            "content_filter",
            "w4 ",
        )
        out = midstream.produce(filters=[raising])
        with pytest.raises(midstream.ProduceError, match="raised RuntimeError"):
            await written(out, "w4 ")
        assert (await read(client, out.id)).end == ("failed", "filter_failed")


async def test_tasks_that_write_at_the_same_time_lose_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter waits while it holds something back: Filter/Hold. I5."""
    monkeypatch.setenv("MIDSTREAM_REDIS_URL", settings.redis_address)

    async def slow_words(delta: Any, context: FilterContext) -> Any:
        await asyncio.sleep(0.001)
        return whole_words(delta, context)

    async with client_alone(settings) as client:
        async with midstream.produce(filters=[slow_words]) as out:
            await out.text("held")
            await asyncio.gather(*(out.text(f"-{number} {number}") for number in range(5)))
        assert (await read(client, out.id)).joined("text") == "held-0 0-1 1-2 2-3 3-4 4"


def test_no_worker_starts_without_its_filters(redis_url: str) -> None:
    """Filter/Start."""
    lonely = Settings(filters=f"x={__name__}:lonely")
    with pytest.raises(FilterError, match=f"x={__name__}:lonely cannot be used: too many positional"):
        filters_of(lonely)
    run = subprocess.run(
        [sys.executable, "-m", "midstream_worker"],
        env={"MIDSTREAM_REDIS_URL": redis_url, "MIDSTREAM_REDACT": '{"key": "("}'},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 2
    assert "MIDSTREAM_REDACT: key: missing )" in run.stderr
