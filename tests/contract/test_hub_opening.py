"""Opening and holding a stream in the hub: nobody opens it twice, and the last one out closes it. I8."""

import asyncio
import gc
import sys

import pytest
from redis.asyncio import Redis

from midstream import counters
from midstream.hub.hub import Hub
from midstream.log.cluster_keys import ClusterKeys
from midstream.log.errors import StreamAbsent
from midstream.log.keys import new_id
from midstream.log.log import Log
from tests.contract.producer_and_sink import Producer, join
from tests.loop_alarm import frozen_after
from tests.topology import subscribers

pytest_plugins = ("tests.contract.hub_on_redis",)


async def test_who_still_asks_a_stopped_hub_does_not_stop_the_loop(hub: Hub, producer: Producer) -> None:
    """A caller was handed the closed follower again and again, without the loop turning (Read/Alive)."""
    async with hub.follow(producer.id) as before:
        await hub.stop()
        with frozen_after(5):
            async with hub.follow(producer.id) as follower:
                assert (before.closed, follower.closed) == (True, False)


async def test_an_absent_stream_cannot_be_opened(hub: Hub) -> None:
    with pytest.raises(StreamAbsent):
        async with hub.follow(new_id()):
            pass


async def test_readers_that_come_just_as_an_ended_stream_was_opened_freeze_nobody(hub: Hub, producer: Producer) -> None:
    """PROTOCOL: Read/Alive. The second reader reads everything before the first has noticed that the log is open."""
    await producer.end()
    first = asyncio.create_task(join(hub, producer.id))
    await asyncio.sleep(0)
    (follower,) = hub._followers.values()
    opening = follower.opening
    assert opening is not None
    while not opening.done():
        await asyncio.sleep(0)  # every turn: the callbacks of what is done run in the next one
    with frozen_after(2):
        others = [await join(hub, producer.id) for _ in range(30)]
        books = [book for book, _ in (*others, await first)]
    assert all(book.closed.is_set() and book.ids == [1, 2] for book in books)
    await asyncio.sleep(0)
    assert not hub._followers


async def test_the_readers_of_one_moment_open_an_ended_stream_once(hub: Hub, producer: Producer, node: Redis) -> None:
    async def reads() -> int:
        return int((await node.info("commandstats"))["cmdstat_xrange"]["calls"])

    await producer.end()
    await node.config_resetstat()
    with frozen_after(5):
        books = await asyncio.gather(*(join(hub, producer.id) for _ in range(200)))
    assert all(book.ids == [1, 2] for book, _ in books)
    assert await reads() == 1


async def test_a_held_follower_stays_open_until_it_is_let_go(hub: Hub, producer: Producer) -> None:
    async with hub.follow(producer.id) as follower:
        (await join(hub, producer.id))[1].close()
        await asyncio.sleep(0.05)
        held = not follower.closed
    await asyncio.sleep(0)
    assert (held, follower.closed, hub._followers) == (True, True, {})


async def test_who_leaves_while_the_stream_is_opened_leaves_nothing(hub: Hub, producer: Producer, node: Redis) -> None:
    """I8."""
    asking = [asyncio.create_task(join(hub, producer.id)) for _ in range(3)]
    await asyncio.sleep(0)
    (follower,) = hub._followers.values()
    opening = follower.opening
    assert opening is not None
    for task in asking:
        task.cancel()
    await asyncio.gather(opening, *asking, return_exceptions=True)
    assert (follower.closed, hub._followers) == (True, {})
    async with asyncio.timeout(5):
        while await subscribers(node, producer.log.keys.channel(producer.id)):
            await asyncio.sleep(0.01)


async def test_who_leaves_while_an_absent_stream_is_opened_leaves_no_error(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    asking = asyncio.create_task(join(hub, new_id()))
    await asyncio.sleep(0)
    (follower,) = hub._followers.values()
    opening = follower.opening
    assert opening is not None
    asking.cancel()
    await asyncio.wait((asking, opening))
    assert (follower.closed, hub._followers) == (True, {})
    del opening, follower, asking
    gc.collect()  # when asyncio reports an exception that nobody has looked at
    assert not caplog.records


async def test_a_reading_that_is_stopped_before_it_begins_leaves_no_warning(hub: Hub, producer: Producer) -> None:
    """I8. The warning names a coroutine that was never awaited, in whatever runs when it is collected."""

    async def stop_before_it_begins() -> None:
        async with hub.follow(producer.id) as follower:
            follower.sync.mark_stale()
            await hub.stop()
        assert follower.closed

    with pytest.MonkeyPatch.context() as patch:
        unraisable: list[object] = []
        patch.setattr(sys, "unraisablehook", unraisable.append)
        await asyncio.create_task(stop_before_it_begins())
        await asyncio.sleep(0)
        gc.collect()
    assert not unraisable


async def test_the_last_tail_out_leaves_nothing(hub: Hub, producer: Producer, node: Redis) -> None:
    _, tail = await join(hub, producer.id)
    assert await subscribers(node, producer.log.keys.channel(producer.id)) == 1
    tail.close()
    async with asyncio.timeout(5):
        # Redis tells nobody that a subscription has ended: there is no event to wait for.
        while await subscribers(node, producer.log.keys.channel(producer.id)):
            await asyncio.sleep(0.01)
    assert hub.tails == 0
    assert hub._window.size_bytes == 0


async def test_streams_that_are_opened_at_once_are_read_by_one_connection(hub: Hub, log: Log, node: Redis) -> None:
    """Read/Openings. Some have more entries than their part of a batch, and one is absent: all are read as alone."""
    producers = [Producer(log) for _ in range(100)]
    for producer in producers:
        await producer.begin()
    await producers[7].write(50)
    absent = new_id()
    before = (await node.info("stats"))["total_reads_processed"]
    connects = counters.counts()["redis_connects",]
    opened = await asyncio.gather(
        *(join(hub, each) for each in [producer.id for producer in producers] + [absent]), return_exceptions=True
    )
    dialled = counters.counts()["redis_connects",] - connects
    reads = (await node.info("stats"))["total_reads_processed"] - before
    *joined, error = opened
    assert isinstance(error, StreamAbsent)
    books = [each[0] for each in joined if not isinstance(each, BaseException)]
    assert [book.ids for book in books] == [list(range(1, producer.tail + 1)) for producer in producers]
    assert books[7].ids[-1] == 51
    assert reads < 1.25 * len(producers)  # a subscription each, and few batches
    # The batches' and the long log's; on a cluster also that to the node of the channels, and the one that names it.
    assert dialled <= (4 if isinstance(log.keys, ClusterKeys) else 2)
    for producer in producers:
        await producer.end()
