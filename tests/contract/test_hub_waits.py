"""Waiting for a stream's first word or its end, in the hub. PROTOCOL: Read/State, Faces/First word."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from midstream.hub.hub import Hub
from midstream.hub.wait import Milestone
from midstream.log.entries import STATUS, Entry, encode
from tests.contract.producer_and_sink import Producer

pytest_plugins = ("tests.contract.hub_on_redis",)

WORDLESS = encode(Entry(STATUS, {"state": "retrying"}))


@contextlib.asynccontextmanager
async def waiting(hub: Hub, producer: Producer, milestone: Milestone) -> AsyncIterator[asyncio.Task[None]]:
    """Wait for a milestone of the producer's stream, and be held up by it."""

    async def wait() -> None:
        async with hub.follow(producer.id) as follower:
            await follower.wait_for(milestone)

    task = asyncio.create_task(wait())
    async with hub.follow(producer.id) as follower, asyncio.timeout(5):
        while not follower.waits:
            await asyncio.sleep(0)
    yield task
    async with asyncio.timeout(5):
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert not hub._followers


async def deletion(_hub: Hub, producer: Producer) -> None:
    await producer.log.delete(producer.id, 1)


async def stop(hub: Hub, _producer: Producer) -> None:
    await hub.stop()


async def failure(hub: Hub, producer: Producer) -> None:
    async def broken() -> None:
        raise ValueError

    async with hub.follow(producer.id) as follower:
        await asyncio.wait((follower.run(broken),))


async def draining(hub: Hub, _producer: Producer) -> None:
    drain = asyncio.create_task(hub.drain(0, 1_000))
    await asyncio.sleep(0)
    drain.cancel()


@pytest.mark.parametrize("milestone", Milestone)
@pytest.mark.parametrize("cause", [deletion, stop, failure, draining])
async def test_whatever_ends_a_tail_ends_a_wait(
    hub: Hub, producer: Producer, milestone: Milestone, cause: Callable[[Hub, Producer], Awaitable[None]]
) -> None:
    async with waiting(hub, producer, milestone) as wait:
        await cause(hub, producer)
        await asyncio.wait_for(wait, 5)
    assert wait.done()


async def test_the_first_word_is_neither_start_nor_status(hub: Hub, producer: Producer, redis: Redis) -> None:
    async with waiting(hub, producer, Milestone.FIRST_WORD) as first, waiting(hub, producer, Milestone.END) as end:
        producer.tail = await producer.log.append(producer.id, producer.fence, producer.tail, [WORDLESS])
        async with hub.follow(producer.id, producer.tail):
            assert not first.done()
        await producer.write(1)
        await asyncio.wait_for(first, 5)
        assert not end.done()
        await producer.end()
    assert end.done()
    assert await redis.exists(producer.log.keys.state(producer.id))


@pytest.mark.parametrize("milestone", Milestone)
async def test_what_has_been_reached_is_not_waited_for(hub: Hub, producer: Producer, milestone: Milestone) -> None:
    await producer.write(2)
    await producer.end()
    async with hub.follow(producer.id) as follower:
        await follower.wait_for(milestone)
        assert not follower.waits


async def test_who_waits_no_more_leaves_nothing(hub: Hub, producer: Producer) -> None:
    async with waiting(hub, producer, Milestone.END) as wait:
        wait.cancel()
    assert wait.cancelled()
