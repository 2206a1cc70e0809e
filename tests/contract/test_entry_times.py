"""When entries were appended, in the log and as people are shown it. PROTOCOL: Entries/Time."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from midstream.log.entries import END, Entry, encode
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.values import Ending
from midstream.settings import Settings
from tests import inside
from tests.contract.new_streams import create

ENDING = Ending([encode(Entry(END, {"outcome": "completed"}))], "completed")
LEASE_MS = 60_000


@pytest.fixture
async def log(redis: Redis) -> AsyncIterator[Log]:
    log = Log(redis, "ms")
    yield log
    await redis.delete(log.keys.due)  # there is no reaper here that would


@pytest.fixture
async def stream_id(log: Log) -> AsyncIterator[str]:
    stream_id = new_id()
    await create(log, stream_id)
    yield stream_id
    await log.delete(stream_id, 1)


async def test_each_entry_has_the_time_of_its_append(log: Log, redis: Redis, stream_id: str) -> None:
    """Entries/Time."""
    fence = (await log.claim(stream_id, "me", LEASE_MS)).fence
    await log.append(stream_id, fence, 1, [b"ta", b"tb"], after_ms=4_321)
    state = await log.state(stream_id)
    assert state is not None
    assert state.last_entry_ms == state.created_ms + 4_321
    await log.append(stream_id, fence, 3, [b"tc"], after_ms=-5)
    seconds, microseconds = await redis.time()
    earlier_ms = seconds * 1_000 + microseconds // 1_000
    await log.append(stream_id, fence, 4, [b"td"])
    await log.seal(stream_id, fence, 5, ENDING)
    state, timed = await log.read_timed(stream_id, 0, 10)
    assert state is not None
    start, *written, unknown, end = [row.written_ms for row in timed]
    assert (start, end) == (state.started_ms, state.last_entry_ms)
    assert written == [state.created_ms + 4_321, state.created_ms + 4_321, state.created_ms]
    assert unknown is not None
    assert earlier_ms <= unknown <= state.ended_ms
    assert (await log.read(stream_id, 0, 10))[1] == [row.entry for row in timed]
    assert (await log.read_timed(stream_id, 1, 1))[1] == timed[1:2]


async def test_a_stream_has_no_time_before_its_first_entry(log: Log, stream_id: str) -> None:
    """Entries/Time."""
    state, timed = await log.read_timed(stream_id, 0, 10)
    assert state is not None
    assert (state.last_entry_ms, timed) == (None, [])
    assert await log.read_timed(new_id(), 0, 10) == (None, [])


async def test_entries_are_shown_with_their_times(settings: Settings) -> None:
    """Entries/Time."""
    slow = {
        "model": "demo/count",
        "input": "count",
        "params": {"words": 5, "delay_ms": 40},
        "chunking": {"flush_ms": 0},
    }
    async with inside.worker(settings), inside.broker(settings) as client:
        stream_id = (await client.post("/v1/streams", json=slow)).json()["id"]
        state = (await client.get(f"/v1/streams/{stream_id}?wait=10")).json()
        page = (await client.get(f"/v1/streams/{stream_id}/entries")).json()
    times_ms = [entry["written_ms"] for entry in page["data"]]
    assert times_ms[0] == state["started_ms"]
    assert times_ms[-1] == state["last_entry_ms"] <= state["ended_ms"]
    words_ms = [entry["written_ms"] for entry in page["data"] if entry["type"] == "text"]
    assert 4 * 40 - 5 <= words_ms[-1] - words_ms[0] <= state["ended_ms"] - state["started_ms"]
