"""The Python client's tail of a thread against a real HTTP server that cuts, repeats and skips (Threads/Events, I2)."""

import json
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.client.client import Midstream, MidstreamError, ThreadEntry
from tests.contract.scripted_broker import (
    SSE_HEAD,
    Answer,
    Exchange,
    ScriptedBroker,
    refuse,
    scripted_broker,
)

TYPES = ("stream_started", "text", "text", "end", "stream_ended")
OUTCOME = {"stream_ended": {"outcome": "completed"}}
THREAD = [
    ThreadEntry(
        f"{stream_id}.{'end' if kind == 'stream_ended' else offset}",
        stream_id,
        offset % 4,
        kind,
        {"n": n, **OUTCOME.get(kind, {})},
    )
    for n, stream_id in enumerate(("b", "a", "c"))
    for offset, kind in enumerate(TYPES)
]
PLACES = {entry.cursor: place for place, entry in enumerate(THREAD, 1)} | {"0": 0}


def frame(entry: ThreadEntry) -> bytes:
    return (
        f"id: {entry.cursor}\nevent: {entry.type}\ndata: {json.dumps({'type': entry.type, **entry.data})}\n\n".encode()
    )


def replay(count: int, *, back: int = 0, skip: int = 0) -> Answer:
    """Serve so many entries after the cursor, then cut; or repeat some of its stream first, or skip some."""

    async def answer(exchange: Exchange) -> None:
        place = PLACES[exchange.header("Last-Event-ID") or "0"]
        exchange.writer.write(SSE_HEAD)
        await exchange.chunk(b'retry: 1\n\nevent: parting\ndata: {"type":"parting"}\n\n')
        first = max(place - back, place // len(TYPES) * len(TYPES)) if place % len(TYPES) else place
        for entry in THREAD[first + skip : place + count]:
            await exchange.chunk(frame(entry))

    return answer


async def read(broker: ScriptedBroker, after: str | None = None, count: int = len(THREAD)) -> list[ThreadEntry]:
    came: list[ThreadEntry] = []
    async with Midstream(broker.url) as midstream, aclosing(midstream.tail_thread("t", after)) as entries:
        while len(came) < count:
            came.append(await anext(entries))
    return came


CUTS = st.builds(replay, st.integers(0, 6), back=st.integers(0, 3), skip=st.integers(0, 2))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(CUTS, max_size=5))
async def test_over_any_cuts_each_entry_comes_once_and_in_order(cuts: list[Answer]) -> None:
    async with scripted_broker(replay(0), *cuts, replay(len(THREAD))) as broker:
        assert await read(broker) == THREAD


async def test_a_marker_that_skips_a_streams_end_is_no_next_event() -> None:
    """Threads/Events: the end's entry is asked for again; where there is none, as the stream is gone, nothing is."""

    def ends(**facts: object) -> Answer:
        async def answer(exchange: Exchange) -> None:
            exchange.writer.write(SSE_HEAD)
            marker = ThreadEntry("b.end", "b", 0, "stream_ended", dict(facts))
            await exchange.chunk(b"retry: 1\n\n" + frame(THREAD[0]) + frame(THREAD[1]) + frame(marker))

        return answer

    async with scripted_broker(ends(outcome="completed"), replay(len(THREAD))) as broker:
        assert await read(broker) == THREAD
        assert broker.cursors == ["0", "b.1"]
    async with scripted_broker(ends(outcome=None)) as broker:
        assert (await read(broker, count=3))[-1].type == "stream_ended"


async def test_resets_move_the_cursor_back() -> None:
    """Threads/Events: of a stream, and of the thread."""

    def reset(cursor: str) -> Answer:
        async def answer(exchange: Exchange) -> None:
            exchange.writer.write(SSE_HEAD)
            await exchange.chunk(f'retry: 1\nid: {cursor}\nevent: reset\ndata: {{"reason": "r"}}\n\n'.encode())

        return answer

    async with scripted_broker(reset("a.0"), replay(1), reset("0"), replay(2)) as broker:
        came = await read(broker, "a.2", 5)
    resets = [
        ThreadEntry(cursor, stream_id, 0, "reset", {"reason": "r"}) for cursor, stream_id in (("a.0", "a"), ("0", ""))
    ]
    assert came == [resets[0], THREAD[6], resets[1], *THREAD[:2]]
    assert broker.cursors == ["a.2", "a.0", "a.1", "0"]


async def test_a_refusal_ends_it() -> None:
    async with scripted_broker(replay(2), refuse(404, "thread_not_found")) as broker:
        with pytest.raises(MidstreamError, match="thread_not_found"):
            await read(broker)
    assert broker.exchanges[0].line.split()[1] == "/v1/threads/t/events"
