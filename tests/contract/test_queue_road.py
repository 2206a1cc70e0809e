"""The queue may have a server of its own, which may lose all that it holds (PROTOCOL: Queue/Road, Queue/Lost)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.lifecycle.queue_road import queue_client
from midstream.lifecycle.slips import Slips
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import inside
from tests.contract.worker_runs import client_alone, paid_by, read, start
from tests.provider.client import ProviderServer
from tests.servers import ValkeyProcess

OF_THE_QUEUE = ("ms:queue", "arq:")
QUICK = Script(words=3)


@pytest.fixture
def queue_server(tmp_path: Path) -> Any:
    """A server that forgets all when it dies."""
    with ValkeyProcess(tmp_path, {"appendonly": "no"}) as server:
        yield server


@pytest.fixture
async def queue(queue_server: ValkeyProcess) -> AsyncIterator[Any]:
    async with Redis.from_url(queue_server.url) as client:
        yield client


@pytest.fixture
def apart(settings: Settings, queue_server: ValkeyProcess, provider: ProviderServer) -> Settings:
    return paid_by(provider.url, settings, queue_redis_url=SecretStr(queue_server.url))


async def keys(redis: Redis) -> set[bytes]:
    return {key async for key in redis.scan_iter(count=1_000)}


async def test_one_address_is_one_client(settings: Settings, redis: Redis) -> None:
    """Queue/Road: what has one server costs no connection and no round trip more."""
    assert queue_client(settings, redis) is redis
    same = settings.model_copy(update={"queue_redis_url": settings.redis_url})
    assert queue_client(same, redis) is redis


async def test_a_wiped_queue_loses_no_stream(
    apart: Settings, redis: Redis, queue: Any, provider: ProviderServer
) -> None:
    """Queue/Lost, and what is kept where (State/Keys)."""
    async with client_alone(apart) as client:
        ids = [await start(client, QUICK) for _ in range(3)]
        assert await queue.zcard("ms:queue") == len(ids)
        assert not [key for key in await keys(redis) if key.decode().startswith(OF_THE_QUEUE)]
        assert all(key.decode().startswith(OF_THE_QUEUE) for key in await keys(queue))
        await queue.flushall()
        async with inside.worker(apart):
            assert await queue.pubsub_numsub("ms:control") == [(b"ms:control", 1)], "it is woken by the queue's server"
            assert await redis.pubsub_numsub("ms:control") == [(b"ms:control", 1)], (
                "and is told of cancels by the log's"
            )
            async with asyncio.timeout(apart.lease_ms / 1000 + 2):
                ends = [(await read(client, each)).end for each in ids]
    assert ends == [("completed", None)] * len(ids)
    assert len(await provider.calls()) == len(ids)


async def test_a_slip_takes_the_place_of_that_of_the_attempt_before(queue: Any) -> None:
    """Queue/Replaced: a worker was killed between its claim and the end of its job."""
    slips = Slips(queue, "ms", 60)
    for epochs in ({"one": 0, "many": 0}, {"one": 1, "many": 1}):
        await slips.write("one", epochs["one"])
        taken = [f"arq:{part}:{name}.{epoch}" for name, epoch in epochs.items() for part in ("in-progress", "retry")]
        await slips.write_many(epochs)
        await asyncio.gather(*(queue.set(key, 1) for key in taken))
    await slips.write("one", 2)
    await slips.write_many({"many": 2})
    assert sorted(await queue.zrange("ms:queue", 0, -1)) == [b"many.2", b"one.2"]
    assert await keys(queue) == {b"ms:queue", b"arq:job:many.2", b"arq:job:one.2"}


async def test_a_reaper_removes_the_slip_of_a_stream_that_it_ends(
    settings: Settings, redis: Any, provider: ProviderServer
) -> None:
    """Queue/Replaced: no worker has taken it."""
    async with client_alone(paid_by(provider.url, settings, queue_timeout_s=0.2)) as client:
        stream_id = await start(client, QUICK)
        assert await redis.zcard("ms:queue") == 1
        assert (await read(client, stream_id)).end == ("failed", "queue_timeout")
        async with asyncio.timeout(5):
            while await redis.exists("ms:queue"):
                await asyncio.sleep(0.01)


async def test_an_absent_queue_delays_only_what_waits_in_it(
    apart: Settings, queue_server: ValkeyProcess, provider: ProviderServer
) -> None:
    """Queue/Lost: what runs goes on, a start is answered, and the new queue gets its slip."""
    async with client_alone(apart) as client, inside.worker(apart):
        running = await start(client, Script(words=30, delay_ms=20))
        await provider.begun()
        queue_server.kill()
        waiting = await start(client, QUICK)
        assert (await read(client, running)).end == ("completed", None)
        assert (await client.state(waiting))["status"] == "queued"
        queue_server.start()
        async with asyncio.timeout(apart.lease_ms / 1000 + 2):
            assert (await read(client, waiting)).end == ("completed", None)
    assert len(await provider.calls()) == 2


async def test_a_frozen_queue_delays_no_end(
    apart: Settings, queue_server: ValkeyProcess, provider: ProviderServer
) -> None:
    """Queue/Lost, Recovery/In time: a reaper waits for no queue."""
    impatient = apart.model_copy(update={"queue_timeout_s": 0.5})
    async with client_alone(impatient) as client:
        queue_server.freeze()
        ids = await asyncio.gather(*(start(client, QUICK) for _ in range(2)))
        async with asyncio.timeout(impatient.queue_timeout_s + impatient.lease_ms / 1000 + 1):
            ends = [(await read(client, each)).end for each in ids]
        queue_server.thaw()
    assert ends == [("failed", "queue_timeout")] * 2
    assert not await provider.calls()
