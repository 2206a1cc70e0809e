"""The hub on a real server: gaps, rewritten logs, slow sinks, eviction. PROTOCOL: Reading."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.faces.native import NativeFace
from midstream.hub.hub import Hub
from midstream.hub.segment import SEGMENT_ENTRIES
from midstream.log.connect import connect, shed
from midstream.log.entries import Stored
from tests.contract.producer_and_sink import FACE, Producer, RecordingSink, join

pytest_plugins = ("tests.contract.hub_on_redis",)


@pytest.mark.parametrize("length", [0, 1, SEGMENT_ENTRIES - 1, SEGMENT_ENTRIES, SEGMENT_ENTRIES * 5 + 7])
@pytest.mark.parametrize("cursor", [0, 3, SEGMENT_ENTRIES])
async def test_replay_then_follow_is_gapless_at_any_length(
    hub: Hub, producer: Producer, length: int, cursor: int
) -> None:
    await producer.write(length)
    after = min(cursor, producer.tail)
    book, _ = await join(hub, producer.id, after)
    await producer.write(10)
    await producer.end()
    await asyncio.wait_for(book.closed.wait(), 5)
    assert book.ids == list(range(after + 1, producer.tail + 1))


async def test_a_log_larger_than_the_window_is_read_from_redis(hub: Hub, producer: Producer) -> None:
    await producer.write(SEGMENT_ENTRIES * 20)  # the window holds about ten segments
    book, _ = await join(hub, producer.id)
    other, _ = await join(hub, producer.id, 100)
    await producer.end()
    await asyncio.gather(book.closed.wait(), other.closed.wait())
    assert book.ids == list(range(1, producer.tail + 1))
    assert other.ids == list(range(101, producer.tail + 1))


async def test_a_lost_publication_is_read_from_the_log(hub: Hub, producer: Producer, node: Redis) -> None:
    book, _ = await join(hub, producer.id)
    await node.client_kill_filter(_type="pubsub")
    await producer.write(5)
    await producer.end()
    await asyncio.wait_for(book.closed.wait(), 5)
    assert book.ids == list(range(1, producer.tail + 1))


async def test_a_busy_sink_gets_what_it_missed_in_one_piece(hub: Hub, producer: Producer) -> None:
    book, tail = await join(hub, producer.id)
    await book.until(1)
    book.ready = False
    watcher, _ = await join(hub, producer.id)
    await producer.write(50)
    await watcher.until(producer.tail)
    chunks = len(book.chunks)
    book.ready = True
    tail.pump()
    assert len(book.chunks) == chunks + 1
    assert book.ids == list(range(1, producer.tail + 1))


async def test_a_busy_sink_hears_the_last_words_later(hub: Hub, producer: Producer) -> None:
    """Read/Truthful."""
    book, tail = await join(hub, producer.id)
    book.ready = False
    tail.part(7)
    assert (book.closed.is_set(), tail.is_ending_or_over) == (False, True)
    book.ready = True
    tail.pump()
    assert (book.chunks[-1], book.closed.is_set()) == (FACE.broker_stop(7), True)


async def test_a_sink_that_raises_harms_no_other(hub: Hub, producer: Producer) -> None:
    class Bad(RecordingSink):
        def write(self, chunk: bytes) -> None:
            raise RuntimeError(len(chunk))

    bad = Bad()
    async with hub.follow(producer.id) as follower:
        follower.join(FACE, producer.tail).begin(bad)
    good, _ = await join(hub, producer.id)
    await producer.write(3)
    await good.until(producer.tail)
    assert bad.closed.is_set()
    assert hub.tails_of(producer.id) == 1


async def test_the_same_entries_written_again_are_not_sent_again(hub: Hub, producer: Producer, redis: Redis) -> None:
    """Read/Rewritten."""
    await producer.write(5)
    book, _ = await join(hub, producer.id)
    await book.until(producer.tail)
    await _roll_back(redis, producer, to=3)
    await producer.write(3 + 2)
    await producer.end()
    await asyncio.wait_for(book.closed.wait(), 5)
    assert book.ids == list(range(1, producer.tail + 1))


async def test_another_history_resets_the_tails_that_saw_the_lost_one(
    hub: Hub, producer: Producer, redis: Redis
) -> None:
    """Read/Rewritten."""
    await producer.write(5)
    book, _ = await join(hub, producer.id)
    await book.until(producer.tail)
    await _roll_back(redis, producer, to=3)
    await producer.end()  # where text was sent before
    await asyncio.wait_for(book.closed.wait(), 5)
    assert book.ids == [1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]
    assert b'"reason":"rewritten"' in b"".join(book.chunks)


async def test_another_history_is_noticed_while_it_is_shorter(hub: Hub, producer: Producer, redis: Redis) -> None:
    """PROTOCOL: Read/Rewritten."""
    await producer.write(5)
    book, _ = await join(hub, producer.id)
    await book.until(producer.tail)
    await _roll_back(redis, producer, to=3)
    await producer.log.append(producer.id, producer.fence, 3, [b"t of another attempt"])
    await book.until(0)
    await book.until(4)
    assert book.ids == [1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]


async def test_who_knows_more_than_this_process_is_not_ahead(hub: Hub, producer: Producer, node: Redis) -> None:
    """PROTOCOL: Read/Ahead. Another broker was quicker to hear of the last entries."""
    await join(hub, producer.id)
    await node.client_kill_filter(_type="pubsub")
    await producer.write(3)
    tails = []
    for after in (0, producer.tail, producer.tail + 1):
        async with hub.follow(producer.id, after) as follower:
            tails.append(follower.tail)
    assert tails == [1, producer.tail, producer.tail]


class CountingFace(NativeFace):
    """Numbers every text entry: what it says depends on all that came before."""

    def begin(self) -> Any:
        return 0

    def frame(self, entry: Stored, state: Any) -> tuple[bytes, Any]:
        count = state + (entry.content[:1] == b"t")
        return b"id: %d\n\n" % count, count


@pytest.mark.parametrize("after", [0, SEGMENT_ENTRIES * 18 + 5])
async def test_a_face_that_remembers_says_the_same_from_anywhere(hub: Hub, producer: Producer, after: int) -> None:
    await producer.write(SEGMENT_ENTRIES * 20)  # more than the window holds
    book = RecordingSink()
    async with hub.follow(producer.id) as follower:
        follower.join(CountingFace(), after).begin(book)
    await producer.end()
    await asyncio.wait_for(book.closed.wait(), 5)
    counts = [*range(SEGMENT_ENTRIES * 20 + 1), SEGMENT_ENTRIES * 20]  # `start` and `end` count nothing
    assert book.ids == counts[after:]


async def _roll_back(redis: Redis, producer: Producer, to: int) -> None:
    """Make the server forget the entries after an offset, as a power loss may."""
    keys = producer.log.keys
    kept = await redis.xrange(keys.log(producer.id), "-", f"{to}")
    await redis.delete(keys.log(producer.id))
    for row_id, fields in kept:
        await redis.xadd(keys.log(producer.id), fields, id=row_id)
    await redis.execute_command("HSET", keys.state(producer.id), "tail", to)  # type: ignore[no-untyped-call]
    producer.tail = to


async def test_what_comes_together_leaves_in_one_write(hub: Hub, producer: Producer, redis: Redis) -> None:
    """Read/Together."""
    book, tail = await join(hub, producer.id)
    await book.until(1)
    written = len(book.chunks)
    channel = producer.log.keys.channel(producer.id)
    async with redis.pipeline(transaction=True) as pipe:  # one answer to one read
        for offset in (2, 3, 4):
            pipe.publish(channel, b"%d-1\xfftx" % offset)
        await pipe.execute()
    await book.until(4)
    assert len(book.chunks) == written + 1
    tail.close()


async def test_a_crowd_of_tails_does_not_move_in_one_turn(hub: Hub, producer: Producer, redis: Redis) -> None:
    """Read/Together."""
    producers = [producer, *(Producer(producer.log) for _ in range(3))]
    books = []
    for each in producers:
        if each is not producer:
            await each.begin()
        books += [(await join(hub, each.id))[0] for _ in range(50)]
    await asyncio.gather(*(book.until(1) for book in books))
    written = [sum(len(book.chunks) for book in books)]

    async def watch() -> None:
        while written[-1] < written[0] + len(books):
            await asyncio.sleep(0)
            written.append(sum(len(book.chunks) for book in books))

    watching = asyncio.create_task(watch())
    async with redis.pipeline(transaction=True) as pipe:  # one answer to one read
        for each in producers:
            pipe.publish(each.log.keys.channel(each.id), b"%d-1\xfftx" % (each.tail + 1))
        await pipe.execute()
    await asyncio.wait_for(watching, 5)
    assert max(later - earlier for earlier, later in pairwise(written)) == 100  # those of two streams
    for each in producers[1:]:
        await each.log.delete(each.id, 0)


async def test_a_deletion_comes_after_what_was_written_before_it(hub: Hub, producer: Producer, redis: Redis) -> None:
    book, _ = await join(hub, producer.id)
    channel = producer.log.keys.channel(producer.id)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.publish(channel, b"2-1\xfftx")
        pipe.publish(channel, b"deleted")
        await pipe.execute()
    await asyncio.wait_for(book.closed.wait(), 5)
    assert book.ids == [1, 2, 0]


async def test_what_may_be_missed_while_the_log_is_read_is_read_after_it(
    hub: Hub, producer: Producer, node: Redis
) -> None:
    async def reads() -> int:
        return int((await node.info("commandstats"))["cmdstat_xrange"]["calls"])

    async with hub.follow(producer.id) as follower:
        before = await reads()
        follower.sync.mark_stale()
        await asyncio.sleep(0)  # the read begins
        follower.sync.mark_stale()  # as when the feed comes back just then
        async with asyncio.timeout(5):
            while await reads() < before + 2:
                await asyncio.sleep(0.005)


async def test_a_burst_keeps_no_connections(redis: Redis, redis_url: str) -> None:
    async def connections() -> int:
        return int((await redis.info("clients"))["connected_clients"]) - others

    others = 0
    others = await connections()
    client = connect(redis_url, 2, 16)
    await asyncio.gather(*(client.wait(9, 50) for _ in range(8)))  # for more replicas than there are
    assert await connections() == 8
    await shed(client)
    async with asyncio.timeout(5):
        while await connections() > 1:  # the server notices in its own time
            await asyncio.sleep(0.001)
    assert await client.ping()
    await client.aclose(close_connection_pool=True)
