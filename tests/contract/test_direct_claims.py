"""A start's slip comes with its stream, and a worker with room claims without polling (Queue/Slip, Queue/Direct)."""

import asyncio
from typing import Any

from midstream.lifecycle.slips import Slips
from midstream.log.log import Log
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import inside
from tests.contract.new_streams import create
from tests.contract.worker_runs import client_alone, paid_by, read, start
from tests.provider.client import ProviderServer

QUICK = Script(words=2)
STARTS = 8
SLOW = Script(words=2, first_delay_ms=300)


async def calls_of(redis: Any, command: str) -> int:
    """Return how often the server was sent a command since its last `CONFIG RESETSTAT`."""
    return int((await redis.info("commandstats")).get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def emptied(redis: Any) -> None:
    """Return once the queue holds nothing; the test's time-out bounds this."""
    while await redis.exists("ms:queue") or [key async for key in redis.scan_iter("arq:*", count=1_000)]:
        await asyncio.sleep(0.01)


async def test_a_slip_is_written_by_the_script_that_creates_the_stream(redis: Any) -> None:
    """Queue/Slip: once, however often the stream is created."""
    log, slips = Log(redis, "ms"), Slips(redis, "ms", 60)
    for _ in range(2):
        await create(log, "one", slip=slips.of_new("one"))
        assert await redis.zrange("ms:queue", 0, -1) == [b"one.0"]
        assert 0 < await redis.pttl("arq:job:one.0") <= 60_000
        await redis.zadd("ms:queue", {"one.0": 1})
    assert await redis.zscore("ms:queue", "one.0") == 1
    assert not await slips._missing(["one.0"]), "it is what `write` would have written"
    await slips.drop("one", 0)
    await log.delete("one", 0)


async def test_workers_with_room_claim_once_and_poll_for_nothing(
    settings: Settings, redis: Any, provider: ProviderServer
) -> None:
    """Queue/Direct: arq watches a key of each slip that it takes."""
    paid = paid_by(provider.url, settings)
    async with client_alone(paid) as client, inside.worker(paid), inside.worker(paid):
        await read(client, await start(client, QUICK))  # by then both have polled
        await redis.config_resetstat()
        ends = [(await read(client, await start(client, QUICK))).end for _ in range(STARTS)]
        watched = await calls_of(redis, "watch")
        await emptied(redis)
    assert ends == [("completed", None)] * STARTS
    assert len(await provider.calls()) == 1 + STARTS
    assert watched < STARTS, "some were claimed without arq, whatever its polls in between have found"


async def test_a_worker_that_had_no_room_takes_the_oldest_slips_first(
    settings: Settings, redis: Any, provider: ProviderServer
) -> None:
    """Queue/Direct: what is started while slips wait does not overtake them."""
    paid = paid_by(provider.url, settings, max_generations=1)
    async with client_alone(paid) as client, inside.worker(paid):
        ids = [await start(client, SLOW)]
        ids += [await start(client, QUICK) for _ in range(6)]
        for each in ids:
            await read(client, each)
        await emptied(redis)
        states = [await anext(redis.scan_iter(f"ms:*{each}*:state", count=1_000)) for each in ids]
        started_ms = [int(await redis.hget(state, "started_ms")) for state in states]
    assert started_ms == sorted(set(started_ms))
