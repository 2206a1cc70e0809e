"""Who is lost when the log was away (PROTOCOL: Recovery/Outage); worker-loss policies are in test_worker_loss.py."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.lifecycle.reaper import FURTHEST_MS, Reaper
from midstream.lifecycle.slips import Slips
from midstream.log.connect import connect
from midstream.log.log import Log
from midstream.log.registry import Due, Registry
from midstream.settings import Settings
from tests import topology
from tests.contract.lost_workers import create_and_claim
from tests.topology import Servers

LEASE_MS = 1_000
LEASE_S = LEASE_MS / 1_000


@pytest.fixture
def server(tmp_path: Path, log_on: str) -> Iterator[Servers]:
    with topology.started(log_on, tmp_path) as servers:
        yield servers


@pytest.fixture
async def queue(server: Servers) -> AsyncIterator[Redis]:
    async with connect(server.queue_url, 10, 8) as client:
        yield client


def settings_on(server: Servers) -> Settings:
    urls = {name: SecretStr(url) for name, url in server.settings.items()}
    return Settings(lease_ms=LEASE_MS).model_copy(update=urls)


@pytest.fixture
async def log(server: Servers, queue: Redis) -> AsyncIterator[Log]:
    """A log with a reaper."""
    settings = settings_on(server)
    client = connect(server.url, 10, 8)
    log = Log(client, "ms")
    reaper = Reaper(log, Registry(client, "ms"), Slips(queue, "ms", 60), settings)
    reaper.start()
    yield log
    await reaper.stop()
    await client.aclose()


async def away(server: Servers) -> None:
    """The server is silent until every lease has run out."""
    server.freeze()
    try:
        await asyncio.sleep(1.5 * LEASE_S)
    finally:
        server.thaw()


async def test_an_owner_that_lived_through_an_outage_goes_on(log: Log, server: Servers) -> None:
    stream_id, fence = await create_and_claim(log, LEASE_MS)
    await away(server)
    await asyncio.sleep(0.7 * LEASE_S)  # the owner takes its time
    await log.renew(stream_id, fence, LEASE_MS)  # StreamSealed, had it been called lost
    state = await log.state(stream_id)
    assert state is not None
    assert state.status == "running"


class NotedRegistry(Registry):
    """Tells when a reaper has been answered."""

    answered = asyncio.Event()

    async def due(self, again_ms: int, limit: int, furthest_ms: int) -> Due:
        due = await super().due(again_ms, limit, furthest_ms)
        self.answered.set()
        return due


async def test_an_owner_whose_renewal_a_short_silence_broke_goes_on(server: Servers, queue: Redis) -> None:
    """Recovery/Outage: after little more than half a lease of silence, an owner still has time to renew."""
    settings = settings_on(server)
    async with connect(server.url, 10, 8) as client:
        log, registry = Log(client, "ms"), NotedRegistry(client, "ms")
        reaper = Reaper(log, registry, Slips(queue, "ms", 60), settings)
        reaper.start()
        await asyncio.sleep(1.1 * LEASE_S)  # the reaper is patient after its start
        stream_id, fence = await create_and_claim(log, LEASE_MS)
        await asyncio.sleep(0.45 * LEASE_S)
        registry.answered.clear()
        await registry.answered.wait()
        server.freeze()
        try:
            await asyncio.sleep(0.56 * LEASE_S)
        finally:
            server.thaw()
        await asyncio.sleep(LEASE_S / 6)
        await log.renew(stream_id, fence, LEASE_MS)  # StreamSealed, had it been called lost
        await reaper.stop()


async def test_a_reaper_that_comes_after_an_outage_hears_the_owners_first(server: Servers, queue: Redis) -> None:
    """It cannot know that the log was silent: brokers are often started again together with Redis."""
    settings = settings_on(server)
    client = connect(server.url, 10, 8)
    log = Log(client, "ms")
    stream_id, fence = await create_and_claim(log, LEASE_MS)
    await away(server)
    reaper = Reaper(log, Registry(client, "ms"), Slips(queue, "ms", 60), settings)
    reaper.start()
    try:
        await asyncio.sleep(0.7 * LEASE_S)  # the owner takes its time
        await log.renew(stream_id, fence, LEASE_MS)  # StreamSealed, had it been called lost
    finally:
        await reaper.stop()
        await client.aclose()


async def test_an_owner_that_did_not_is_lost_a_lease_after_it(log: Log, server: Servers) -> None:
    stream_id, _ = await create_and_claim(log, LEASE_MS)
    await away(server)
    async with asyncio.timeout(LEASE_S + 1):
        while (state := await log.state(stream_id)) is None or not state.ended:
            await asyncio.sleep(0.02)
    assert state.outcome == "interrupted"


async def test_a_stream_that_cannot_be_read_keeps_no_other_waiting(log: Log, server: Servers) -> None:
    stream_id, _ = await create_and_claim(log, LEASE_MS)
    client = connect(server.url, 10, 1)
    await client.set(log.keys.state("foreign"), "a key of another kind")
    await client.zadd(
        log.keys.near(stream_id).due, {"foreign": 1, stream_id: 1}
    )  # on one page, and so on all that follow
    async with asyncio.timeout(2 * LEASE_S + 1):
        while (state := await log.state(stream_id)) is None or not state.ended:
            await asyncio.sleep(0.02)
    await client.aclose()
    assert state.outcome == "interrupted"


async def test_a_lease_that_is_longer_than_its_own_is_looked_at_now_and_then(log: Log, server: Servers) -> None:
    """Recovery/Clock: a look beyond the furthest one would be due at once, and so the stream at every tick."""
    stream_id, _ = await create_and_claim(log, 100 * FURTHEST_MS)
    async with connect(server.url, 10, 1) as client, asyncio.timeout(2 * LEASE_S + 1):
        ahead_ms = 0.0
        while not FURTHEST_MS / 2 < ahead_ms <= FURTHEST_MS:
            await asyncio.sleep(0.02)
            look_ms = await client.zscore(log.keys.near(stream_id).due, stream_id)
            seconds, microseconds = await client.time()
            ahead_ms = look_ms - seconds * 1_000 - microseconds // 1_000
