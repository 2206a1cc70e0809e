"""Reapers watch a stream from before it exists until anybody has ended it (PROTOCOL: Create/Registered)."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from midstream.log.entries import END, Entry, encode
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.values import Ending, Fence
from tests.contract.new_streams import create
from tests.faults.proxy import Proxy
from tests.servers import ValkeyProcess, free_port

ENDING = Ending([encode(Entry(END, {"outcome": "failed"}))], "failed")


@pytest.fixture
async def log(redis: Redis) -> AsyncIterator[Log]:
    log = Log(redis, "ms")
    yield log
    await redis.delete(log.keys.due)


async def watched(redis: Redis, log: Log) -> set[str]:
    return {each.decode() for each in await redis.zrange(log.keys.due, 0, -1)}


@pytest.mark.parametrize("by", ["its owner", "a reaper", "a cancel", "a delete"])
async def test_whatever_ends_a_stream_ends_the_looks_at_it(log: Log, redis: Redis, by: str) -> None:
    stream_id, other = new_id(), new_id()
    await create(log, stream_id)
    await create(log, other)
    assert await watched(redis, log) == {stream_id, other}
    match by:
        case "its owner":
            claim = await log.claim(stream_id, "me", 60_000)
            await log.seal(stream_id, claim.fence, claim.state.tail, ENDING)
        case "a reaper":
            state = await log.state(stream_id)
            assert state is not None
            assert await log.many.seal({stream_id: (state, ENDING)}) == {stream_id: None}
        case "a cancel":
            assert await log.cancel(stream_id, ENDING)
        case _:
            await log.delete(stream_id, 60)
    assert await watched(redis, log) == {other}
    await log.delete(other, 1)


async def test_a_repeated_start_of_an_ended_stream_sets_no_look(log: Log, redis: Redis) -> None:
    stream_id = new_id()
    await create(log, stream_id)
    await log.cancel(stream_id, ENDING)
    assert await create(log, stream_id) is None
    assert await watched(redis, log) == set()


async def test_the_end_stands_where_the_look_stays(log: Log, redis: Redis, redis_server: ValkeyProcess) -> None:
    """The log is lost to the process just after the end: the reapers find the stream ended at their next look."""
    stream_id = new_id()
    await create(log, stream_id)
    proxy = await Proxy(free_port(), redis_server.port).open()
    between: Redis = Redis(port=proxy.port)
    rule = proxy.rule(lambda command: b"ms:due" in command, "cut", once=False)
    assert await Log(between, "ms").seal(stream_id, Fence.of_reaper(0), 0, ENDING) == 1
    assert rule.reached.is_set()
    state = await log.state(stream_id)
    assert state is not None
    assert (state.ended, await watched(redis, log)) == (True, {stream_id})
    await between.aclose()
    await proxy.close()
