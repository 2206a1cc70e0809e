"""What a process knows of an ended stream outlives its readers. PROTOCOL: Read/Resting."""

import asyncio
import gc
import weakref

import pytest
from redis.asyncio import Redis

from midstream.hub import resting
from midstream.hub.hub import Hub
from midstream.log.errors import StreamAbsent
from midstream.log.log import Log
from tests.contract.producer_and_sink import Producer, join

pytest_plugins = ("tests.contract.hub_on_redis",)
COUNT = 600


async def ended(producer: Producer, count: int = COUNT) -> int:
    await producer.write(count)
    await producer.end()
    return producer.tail


async def replayed(hub: Hub, stream_id: str, tail: int, after: int = 0) -> bytes:
    book, reader = await join(hub, stream_id, after)
    await book.until(tail)
    reader.close()
    while hub._log.keys.channel(stream_id) in hub._followers:
        await asyncio.sleep(0)  # it is released a turn later
    return b"".join(book.chunks)


async def test_the_next_reader_needs_no_entry_of_the_log(hub: Hub, producer: Producer) -> None:
    tail = await ended(producer)
    first = await replayed(hub, producer.id, tail)
    misses = hub.readings["window_reads", "miss"]
    for after in (0, 1, 300, tail - 1):
        again = await replayed(hub, producer.id, tail, after)
        assert first.endswith(again)
    assert hub.readings["window_reads", "miss"] == misses
    assert len(hub._resting) == 1


async def test_a_log_whose_end_is_sent_right_after_a_page_was_read_rests_too(hub: Hub, producer: Producer) -> None:
    await replayed(hub, producer.id, await ended(producer, 2_200))
    assert len(hub._resting) == 1


async def test_a_stream_that_was_deleted_meanwhile_is_absent(hub: Hub, log: Log, producer: Producer) -> None:
    await replayed(hub, producer.id, await ended(producer))
    await log.delete(producer.id, 1)
    with pytest.raises(StreamAbsent):
        await replayed(hub, producer.id, 1)
    assert hub._window.size_bytes == 0


async def test_another_stream_of_the_same_id_is_read(hub: Hub, log: Log, producer: Producer, node: Redis) -> None:
    """Started again by the same idempotency key, with as many entries and the same end."""
    await replayed(hub, producer.id, await ended(producer))
    await node.delete(*[key async for key in node.scan_iter(f"*{producer.id}*")])
    await asyncio.sleep(0.002)  # streams are told apart by the millisecond of their creation
    await producer.begin()
    producer.tail = await log.append(producer.id, producer.fence, producer.tail, [b"tother"] * COUNT)
    await producer.end()
    assert b"other" in await replayed(hub, producer.id, producer.tail)


async def test_readers_that_leave_in_one_turn_leave_one_follower(hub: Hub, producer: Producer) -> None:
    tail = await ended(producer)
    readers = [await join(hub, producer.id) for _ in range(3)]
    for book, _ in readers:
        await book.until(tail)
    for _, reader in readers:
        reader.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(hub._resting) == 1
    assert await replayed(hub, producer.id, tail) == b"".join(readers[0][0].chunks)


async def test_what_rests_yields_to_what_is_read(hub: Hub, log: Log) -> None:
    sizes = []
    for _ in range(8):
        each = Producer(log)
        await each.begin()
        await replayed(hub, each.id, await ended(each))
        sizes.append(hub._window.size_bytes)
        await log.delete(each.id, 1)
    assert sizes[0] < sizes[1], "the first ones rest"
    assert max(sizes) <= hub._window._limit_bytes
    assert 0 < len(hub._resting) < 8
    while hub._resting.drop_oldest():
        pass
    assert hub._window.size_bytes == 0


async def test_what_a_client_sent_of_itself_counts(hub: Hub, log: Log, redis: Redis) -> None:
    """Read/Memory: metadata may be many times as long as all else that is kept of a short stream."""
    sizes = []
    for metadata in ("{}", '{"a":"%s"}' % ("\U0001f600" * 8_000)):
        each = Producer(log)
        await each.begin()
        await redis.hset(log.keys.state(each.id), "metadata", metadata)  # type: ignore[misc]
        before = hub._window.size_bytes
        await replayed(hub, each.id, await ended(each, 1))
        sizes.append(hub._window.size_bytes - before)
        await log.delete(each.id, 1)
    assert sizes[1] - sizes[0] > 4 * 8_000 - 100
    while hub._resting.drop_oldest():
        pass
    assert hub._window.size_bytes == 0


async def test_nothing_rests_for_longer_than_a_minute(hub: Hub, producer: Producer) -> None:
    await replayed(hub, producer.id, await ended(producer))
    hub._resting.drop_older_than(resting.REST_S)
    assert len(hub._resting) == 1
    hub._resting.drop_older_than(0)
    assert len(hub._resting) == hub._window.size_bytes == 0


async def test_a_stream_that_runs_does_not_rest(hub: Hub, producer: Producer) -> None:
    await producer.write(5)
    await replayed(hub, producer.id, producer.tail)
    assert len(hub._resting) == hub._window.size_bytes == 0


async def test_who_is_dropped_waits_for_no_collector(hub: Hub, producer: Producer) -> None:
    """A broker collects old objects once in millions of allocations: a million streams would wait for it."""
    await replayed(hub, producer.id, await ended(producer))
    ((resting_one, _),) = hub._resting._followers.values()
    its_parts = [weakref.ref(each) for each in (resting_one, resting_one.sync, resting_one.frames)]
    del resting_one
    gc.collect()
    gc.disable()
    try:
        hub._resting.drop_oldest()
        await asyncio.sleep(0)
        assert [part() for part in its_parts] == [None] * 3
    finally:
        gc.enable()


async def test_who_is_followed_no_more_waits_for_no_collector(hub: Hub, producer: Producer) -> None:
    """The stream has not ended, so nothing of it rests."""
    await producer.write(5)
    gc.collect()
    gc.disable()
    try:
        async with hub.follow(producer.id) as follower:
            follower_ref = weakref.ref(follower)
        del follower
        while follower_ref() is not None and hub._followers:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert follower_ref() is None
    finally:
        gc.enable()
