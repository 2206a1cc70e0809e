"""Answers that are unusual and yet whole are read as what they are (PROTOCOL: Sources/Compatible)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest

from midstream_worker.sources.deltas import SourceError, ToolInput
from midstream_worker.sources.source import Prompt
from tests.contract.source_reading import Read, read, source_for
from tests.provider.hostile import chunk


def call(name: str | None, arguments: Any, **beside: Any) -> Any:
    """Return a chunk with one fragment of a tool call."""
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return chunk({"tool_calls": [{"type": "function", "function": function, **beside}]})


@asynccontextmanager
async def provider(*events: Any) -> AsyncIterator[str]:
    """Yield the address of a server that answers each request by these events."""
    body = "".join(f"event: {event.get('type', '')}\ndata: {orjson.dumps(event).decode()}\n\n" for event in events)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + body.encode())
        with suppress(OSError):
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def answered(dialect: str, *events: Any) -> Read:
    """Return what a source makes of an answer."""
    async with provider(*events) as url, source_for(url, dialect) as source:
        return await read(source.open(Prompt("some-model", [{"role": "user", "content": "x"}], {})))


F, G = '{"x":1}', '{"y":2}'
PARALLEL = {
    "all at index 0": [call("f", F, index=0, id="a"), call("g", G, index=0, id="b")],
    "an index that is a text": [call("f", F, index="0", id="a"), call("g", G, index="1", id="b")],
    "no index": [call("f", F, id="a"), call("g", G, id="b")],
    "no index, no id": [call("f", F), call("g", G)],
}


@pytest.mark.parametrize("how", PARALLEL)
async def test_calls_that_come_whole_are_not_made_one(how: str) -> None:
    got = await answered("compatible", *PARALLEL[how], chunk(finish="tool_calls"))
    assert [(it.name, it.arguments) for it in got.calls] == [("f", F), ("g", G)]
    assert len({it.id for it in got.calls}) == 2
    assert [(it.id, it.delta) for it in got.deltas if isinstance(it, ToolInput)] == [
        (it.id, it.arguments) for it in got.calls
    ]


FRAGMENTS = {
    "another id in each": [
        call("f", "", index=0, id="a"),
        call(None, '{"x"', index=0, id="b"),
        call(None, ":1}", id="c"),
    ],
    "all repeated in each": [call("f", part, index=0, id="a") for part in ("", '{"x"', ":1}")],
    "the name repeated in each": [call("f", part, index=0) for part in ("", '{"x"', ":1}")],
    "an object": [call("f", {"x": 1}, index=0, id="a")],
}


@pytest.mark.parametrize("how", FRAGMENTS)
async def test_fragments_of_one_call_are_not_made_several(how: str) -> None:
    got = await answered("compatible", *FRAGMENTS[how], chunk(finish="tool_calls"))
    assert [(it.name, it.arguments) for it in got.calls] == [("f", F)]


async def test_content_may_be_a_list_of_parts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    got = await answered(
        "compatible",
        chunk({"content": [thinking]}),
        chunk({"content": [{"type": "text", "text": "Yes"}]}),
        chunk({"content": "."}),
        chunk(finish="stop"),
    )
    assert (got.reasoning, got.text, got.finish) == ("Hm.", "Yes.", "stop")


async def test_an_answer_that_a_router_says_broke_off_is_not_whole() -> None:
    with pytest.raises(SourceError, match="provider_incomplete"):
        await answered("compatible", chunk({"content": "x"}), chunk(finish="error"))


def response(text: str = "", **fields: Any) -> Any:
    """Return a whole response."""
    parts = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "resp_1", "status": "completed", "output": [{"type": "message", "content": parts}], **fields}


@pytest.mark.parametrize("dialect", ["responses", "background"])
async def test_a_long_answer_is_read_although_it_is_told_again_at_its_end(dialect: str) -> None:
    """*Sources/Bounded*: the limit of one event leaves room for any answer of a model, and for the instructions."""
    text = '"zéß"\n' * 300_000  # 2.4 MB
    pieces = [text[at : at + 5_000] for at in range(0, len(text), 5_000)]
    events = [
        {"type": "response.created", "response": response(instructions=text)},
        *({"type": "response.output_text.delta", "delta": piece} for piece in pieces),
        {"type": "response.output_text.done", "text": text},
        {"type": "response.completed", "response": response(text, instructions=text)},
    ]
    got = await answered(dialect, *({"sequence_number": at, **event} for at, event in enumerate(events)))
    assert (got.text == text, got.finish) == (True, "stop")


async def test_a_sign_of_life_needs_no_number() -> None:
    got = await answered(
        "background",
        {"type": "response.created", "sequence_number": 0, "response": response()},
        {"type": "keepalive"},
        {"type": "response.output_text.delta", "sequence_number": 1, "delta": "x"},
        {"type": "response.completed", "sequence_number": 2, "response": response()},
    )
    assert (got.text, got.finish) == ("x", "stop")


async def test_a_response_that_is_not_read_again_needs_no_numbers() -> None:
    got = await answered(
        "responses",
        {"type": "response.created", "response": response()},
        {"type": "response.output_text.delta", "delta": "x"},
        {"type": "response.completed", "response": response()},
    )
    assert (got.text, got.finish) == ("x", "stop")


async def test_a_block_may_begin_with_what_it_holds() -> None:
    tool = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}}
    got = await answered(
        "anthropic",
        {"type": "message_start", "message": {"id": "msg_1", "usage": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Let me"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " see."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": tool},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": None},
        {"type": "message_stop"},
    )
    assert (got.text, [it.arguments for it in got.calls], got.finish) == ("Let me see.", [F], "tool_calls")
