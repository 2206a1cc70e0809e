"""Entries that end where words end, and answers in JSON (PROTOCOL: Chunking, Structured)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import regex

import midstream
from midstream.client.client import Midstream
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import inside
from tests.contract.worker_runs import MODELS, client_alone, client_of, paid_by, read, start
from tests.provider.client import ProviderServer

TEXT = "สวัสดีครับ ผมชื่อสมชาย 👨‍👩‍👧‍👦🇫🇷🇩🇪 e\u0301 don't foo_bar(x) 3.14 end"
GRAPHEMES = {match.start() for match in regex.finditer(r"\X", TEXT)} | {len(TEXT)}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
silent = asyncio.Event()


async def letters(_messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncIterator[str]:
    for letter in TEXT:
        yield letter
        await asyncio.sleep(0.002)
    if params.get("fails"):
        raise RuntimeError


async def silent_in_a_word(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield "some wor"
    await silent.wait()
    yield "d more"


async def answers(_messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncIterator[str]:
    for at in range(0, len(params["say"]), 3):
        yield params["say"][at : at + 3]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    apps = {name: f"{__name__}:{name}" for name in ("letters", "silent_in_a_word", "answers")}
    return settings.model_copy(update={"apps": apps, "flush_ms": 0, "structured_bytes": 1_024})


async def answer_of(client: Midstream, app: str, **fields: Any) -> Any:
    return await read(client, (await client.start("Hi", model=f"app/{app}", **fields))["id"])


@pytest.mark.parametrize(("params", "end"), [({}, ("completed", None)), ({"fails": True}, ("failed", "source_error"))])
async def test_entries_end_where_words_end(settings: Settings, params: Any, end: Any) -> None:
    """Chunking/Modes, Chunking/Bounds."""
    async with client_of(settings) as client:
        got = await answer_of(client, "letters", chunking={"mode": "word"}, params=params)
    pieces = [data["text"] for data in got.of("text")]
    assert (got.end, "".join(pieces)) == (end, TEXT)
    ends = {sum(map(len, pieces[:number])) for number in range(len(pieces))}
    assert ends <= GRAPHEMES
    assert len(pieces) > 10


async def test_a_word_that_waits_for_too_long_is_divided(settings: Settings) -> None:
    """Chunking/Bounds."""
    run = settings.model_copy(update={"chunk_hold_ms": 50})
    async with client_of(settings, run) as client:
        for mode in ("word", "sentence"):
            silent.clear()
            stream_id = (await client.start("Hi", model="app/silent_in_a_word", chunking={"mode": mode}))["id"]
            async for entry in client.tail(stream_id):
                if entry.type == "text" and "wo" in entry.data["text"]:
                    silent.set()
                    break
            got = await read(client, stream_id)
            assert [data["text"] for data in got.of("text")] == ["some", " wo", "rd more"]


async def test_a_reattached_answer_in_words_has_each_once(settings: Settings, provider: ProviderServer) -> None:
    """Chunking/Modes, Filter/Attempts. I5."""
    paid = paid_by(provider.url, settings, drain_s=0)
    script = Script(words=60, delay_ms=10, split=True)
    async with client_alone(paid) as client:
        async with inside.worker(paid):
            stream_id = await start(client, script, MODELS[0], chunking={"mode": "word"})
            async for entry in client.tail(stream_id):
                if entry.type == "text" and "w20" in entry.data["text"]:
                    break
        async with inside.worker(paid):
            got = await read(client, stream_id)
    assert (got.end, got.joined("text")) == (("completed", None), script.text())
    assert [status["state"] for status in got.of("status")] == ["reattaching"]


async def test_a_producer_writes_sentences(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunking/Modes."""
    monkeypatch.setenv("MIDSTREAM_REDIS_URL", settings.redis_address)
    monkeypatch.setenv("MIDSTREAM_FLUSH_MS", "0")
    async with client_alone(settings) as client:
        async with midstream.produce(chunking={"mode": "sentence"}) as out:
            for piece in "One. Two is":
                await out.text(piece)
        got = await read(client, out.id)
    assert [data["text"] for data in got.of("text")] == ["One. ", "Two is"]


JSONS = {
    '{"a": [1, "é"]}': {"parsed": {"a": [1, "é"]}},
    "I will not.": {
        "parse_error": "It is no JSON: unexpected character, expected a JSON value: line 1 column 1 (char 0)."
    },
    "[" * 300 + "]" * 300: {"parse_error": "It is nested too deep."},
    "[" * 251 + "]" * 251: {"parse_error": "It is nested too deep."},
    f'"{"a" * 2_000}"': {"parse_error": "It is longer than MIDSTREAM_STRUCTURED_BYTES."},
}


async def test_the_end_holds_what_the_answer_is(settings: Settings) -> None:
    """Structured/Asked, Structured/End."""
    forms: tuple[dict[str, Any], ...] = ({"response_format": SCHEMA}, {"text": {"format": {"type": "json_object"}}}, {})
    async with inside.worker(settings), inside.broker(settings) as http:
        for text, expected in JSONS.items():
            for form in forms:
                body = {"model": "app/answers", "input": "Hi", "params": {"say": text} | form}
                stream_id = (await http.post("/v1/streams", json=body)).json()["id"]
                output = (await http.get(f"/v1/streams/{stream_id}", params={"wait": 5})).json()["output"]
                end = (await http.get(f"/v1/streams/{stream_id}/entries")).json()["data"][-1]["data"]
                in_it = expected if form else {}
                assert {name: end[name] for name in end if name.startswith("parse")} == in_it
                assert {name: output[name] for name in output if name.startswith("parse")} == in_it
