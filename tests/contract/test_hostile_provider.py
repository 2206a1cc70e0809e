"""A provider that means harm, or is broken, harms its own generations alone (PROTOCOL: Sources)."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import orjson
import pytest

from midstream_worker.sources.deltas import Delta, SourceError
from midstream_worker.sources.provider_http import AnswerLimits, RefusedAnswerError, provider_client
from midstream_worker.sources.source import Prompt
from tests.contract.source_reading import Read, read, source_for
from tests.provider.hostile import CHAT, HARM, MESSAGES, RESPONSES
from tests.system import System

PAGES = {"chat": CHAT, "anthropic": MESSAGES, "responses": RESPONSES}
WRONG_TYPES = [(dialect, mode) for dialect, page in PAGES.items() for mode in page]
MOST_GROWTH_MIB = 64


def texts(value: object) -> Iterator[str]:
    """Yield every text in a delta's fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from texts(member)


@pytest.mark.parametrize(("dialect", "mode"), WRONG_TYPES)
async def test_what_is_of_a_wrong_type_becomes_no_delta(hostile_url: str, dialect: str, mode: str) -> None:
    """Sources/Types."""
    got = Read([])
    async with source_for(hostile_url, dialect) as source:
        with suppress(SourceError):
            await read(source.open(Prompt(mode, [{"role": "user", "content": "x"}], {})), got)
    for delta in got.deltas:
        _check(delta)
    if mode.startswith("usage_") and mode not in ("usage_list", "usage_int", "usage_nan"):
        assert got.finish == "stop", "figures that cannot be read are no reason to lose an answer"


def _check(delta: Delta) -> None:
    fields = {name: getattr(delta, name) for name in delta.__slots__}
    orjson.dumps(fields)
    for name, value in fields.items():
        if name in ("text", "id", "name", "delta", "arguments", "reason"):
            assert isinstance(value, str)
        if name in ("input_tokens", "output_tokens"):
            assert isinstance(value, int)
            assert 0 <= value < 2**53
        for text in texts(value):
            text.encode()


@pytest.mark.parametrize("mode", ["error", "big_error", "redirect"])
@pytest.mark.parametrize("dialect", PAGES)
async def test_an_error_is_told_in_plain_words(hostile_url: str, dialect: str, mode: str) -> None:
    """Sources/Plain words."""
    async with source_for(hostile_url, dialect) as source:
        with pytest.raises(SourceError) as caught:
            await read(source.open(Prompt(mode, [{"role": "user", "content": "x"}], {})))
    message = caught.value.message
    assert all(letter.isprintable() or letter in "\n\t\u2028" for letter in message)
    assert len(message) <= 500
    status, code = ("307", "provider_error") if mode == "redirect" else ("400", "provider_bad_request")
    assert (caught.value.code, caught.value.retry) == (code, "never")
    assert f"(HTTP {status})" in message
    async with httpx2.AsyncClient() as http:
        assert (await http.get(f"{hostile_url}/followed")).text == "0"


@pytest.mark.parametrize(("event_bytes", "fits"), [(100, False), (200, True)])
@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n", "\r\r"])
async def test_an_event_ends_with_a_blank_line_however_it_is_cut(event_bytes: int, fits: bool, blank: str) -> None:
    """Sources/Bounded."""
    body = f"data: {'x' * 120}{blank}".encode() * 20

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for at in range(len(body)):  # each byte is a piece of its own
            writer.write(b"1\r\n" + body[at : at + 1] + b"\r\n")
        writer.write(b"0\r\n\r\n")
        with suppress(OSError):
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with provider_client(AnswerLimits(event_bytes, 10_000), silence_s=5) as client:
            asking = client.post(url, content=b"{}")
            if fits:
                assert (await asking).content == body
            else:
                with pytest.raises(RefusedAnswerError, match="MIDSTREAM_MAX_PROVIDER_EVENT_BYTES"):
                    await asking


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, hostile_url: str) -> System:
    providers = orjson.dumps({"evil": f"{hostile_url}/v1"}).decode()
    limits = {"max_provider_answer_bytes": 33_554_432}
    return System(redis_url, tmp_path, hostile_url, providers=providers, demo_delay_ms=20, lease_ms=3_000, **limits)


@pytest.mark.slow_start(15)
@pytest.mark.timeout(120)
async def test_harm_stays_with_its_own_generation(system: System) -> None:
    """Sources/Bounded: the worker's memory, and the generations beside."""
    async with system:
        await system.start()
        pid = system.workers[0].pid
        for model in ("evil/hello", "anthropic/warm", "openai/warm"):
            await system.ended(await system.post(model=model, input="x"))
        growth = {}
        for mode in [*HARM, "wide", "deep"]:
            beside = await system.post(model="demo/count", input="x", params={"words": 50})
            model = f"anthropic/{mode}" if mode == "signatures" else f"evil/{mode}"
            harmed = asyncio.create_task(system.ended(await system.post(model=model, input="x"), wait_s=60))
            before = most = _rss_mib(pid)
            while not harmed.done():
                most = max(most, _rss_mib(pid))
                await asyncio.sleep(0.01)
            state, growth[mode] = harmed.result(), most - before
            expected = "completed" if mode == "wide" else "failed"  # of 600,000 empty choices
            assert (state["outcome"], state["epoch"]) == (expected, 1), (mode, state)
            assert (state["error"] or {}).get("code") != "internal", mode
            undisturbed = await system.ended(beside)
            assert (undisturbed["outcome"], undisturbed["epoch"]) == ("completed", 1), mode
        assert max(growth.values()) <= MOST_GROWTH_MIB, growth


async def test_no_door_answers_500_to_what_it_left(system: System) -> None:
    """Sources/Types: what a provider says is read again at every door."""
    async with system:
        await system.start()
        for mode in CHAT:
            stream_id = await system.post(model=f"evil/{mode}", input="x")
            state = await system.ended(stream_id)
            assert (state["error"] or {}).get("code") != "internal", mode
            for path in (f"streams/{stream_id}/events?after=0", f"responses/resp_{stream_id}"):
                assert (await system.http.get(f"/v1/{path}")).status_code == 200, (mode, path)


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024
