"""Errors under the hub, of the log and of our own: no tail is left without entries and without an end. Read/Alive."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from midstream.hub.hub import Hub
from midstream.log.connect import connect
from midstream.log.log import Log
from tests import topology
from tests.contract.producer_and_sink import FACE, Producer, RecordingSink, join


@pytest.fixture
def own_url(tmp_path: Path, log_on: str) -> Iterator[str]:
    """The address of a log that the test may make refuse commands."""
    with topology.started(log_on, tmp_path, **{"busy-reply-threshold": "20"}) as servers:
        yield servers.url


@pytest.fixture
async def log(own_url: str) -> AsyncIterator[Log]:
    client = connect(own_url, 2, 8)
    yield Log(client, "ms")
    await client.aclose()


@pytest.fixture
async def own(own_url: str, log: Log) -> AsyncIterator[Redis]:
    """A plain client of the server, which is the node of the test's streams."""
    async with connect(own_url, 10, 8) as client:
        node = await topology.node_of(client, log.keys.near("x").due)
        await node.ping()  # dials: Sentinels may have to name the port
        (connection,) = node.connection_pool._available_connections
        port = vars(connection)["port"]
    async with Redis(port=port, socket_timeout=10.0) as plain:
        yield plain


@pytest.fixture
async def hub(own_url: str, log: Log) -> AsyncIterator[Hub]:
    client = connect(own_url, 2, 8)
    hub = Hub(log, client, window_bytes=400_000, heartbeat_ms=60_000, timeout_s=2)
    await hub.start()
    yield hub
    await hub.stop()
    await client.aclose()


@pytest.fixture
async def producer(log: Log) -> Producer:
    producer = Producer(log)
    await producer.begin()
    return producer


def _url(client: Redis) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


@contextlib.asynccontextmanager
async def busy(own: Redis) -> AsyncIterator[None]:
    """Have the server answer BUSY to everything but a kill of its script."""
    async with Redis.from_url(_url(own), socket_timeout=30) as looping:
        script = asyncio.create_task(looping.eval("while true do end", 0))
        async with asyncio.timeout(5):
            while True:
                try:
                    await own.ping()
                except ResponseError:
                    break
        yield
        await own.script_kill()
        await asyncio.gather(script, return_exceptions=True)


class Client:
    """Reads a stream as a client does: comes back after what it has, until the end."""

    def __init__(self, hub: Hub, stream_id: str) -> None:
        self.ids: list[int] = []
        self.hub, self.stream_id = hub, stream_id

    async def read(self, upto: int) -> None:
        while not self.ids or self.ids[-1] < upto:
            try:
                book, tail = await join(self.hub, self.stream_id, self.ids[-1] if self.ids else 0)
            except Exception:  # noqa: BLE001 - as an HTTP error
                await asyncio.sleep(0.05)
                continue
            while not book.closed.is_set() and upto not in book.ids:
                book.written.clear()
                waits = [asyncio.ensure_future(event.wait()) for event in (book.closed, book.written)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
            self.ids += book.ids
            tail.close()


async def heartbeats(sink: RecordingSink) -> None:
    for _ in range(3):
        sink.written.clear()
        await asyncio.wait_for(sink.written.wait(), 5)


@pytest.mark.parametrize("length", [1, 256 * 20], ids=["live", "replay"])
async def test_a_client_outlives_error_replies_to_reads(hub: Hub, producer: Producer, own: Redis, length: int) -> None:
    await producer.write(length)  # twenty segments are more than the window holds
    client = Client(hub, producer.id)
    upto = producer.tail + 4  # three entries and the end
    reading = asyncio.create_task(client.read(upto))
    async with hub.follow(producer.id) as follower:
        while not follower.tails:
            await asyncio.sleep(0)
    async with busy(own):
        follower.sync.mark_stale()
        await asyncio.sleep(0.2)  # the reply is on its way: there is no event for one that changes nothing
    await producer.write(3)
    await producer.end()
    await asyncio.wait_for(reading, 10)
    assert client.ids == list(range(1, upto + 1))


async def test_an_error_that_nobody_expects_cuts_the_tails_and_they_come_back(
    hub: Hub, producer: Producer, own: Redis
) -> None:
    book, tail = await join(hub, producer.id)
    await book.until(1)
    async with hub.follow(producer.id) as follower:
        pass  # the tail holds it
    key = producer.log.keys.state(producer.id)
    epoch = await own.hget(key, "tail")  # type: ignore[misc]
    await own.hset(key, "tail", "no number")  # type: ignore[misc]
    follower.sync.mark_stale()
    await asyncio.wait_for(book.closed.wait(), 5)
    assert tail.failed
    await own.hset(key, "tail", epoch)  # type: ignore[misc]
    again, _ = await join(hub, producer.id, 1)
    await producer.write(2)
    await producer.end()
    await asyncio.wait_for(again.closed.wait(), 5)
    assert again.ids == list(range(2, producer.tail + 1))


async def test_a_stream_is_read_at_a_heartbeat_only_where_entries_are_missing(
    producer: Producer, own: Redis, own_url: str, log: Log
) -> None:
    """Read/Alive."""
    client = connect(own_url, 2, 8)
    hub = Hub(log, client, window_bytes=400_000, heartbeat_ms=80, timeout_s=2)
    await hub.start()
    sink, _ = await join(hub, producer.id)
    await sink.until(producer.tail)
    await heartbeats(sink)  # the feed of a cluster says soon after its start that publications may be missing
    await own.config_resetstat()
    await heartbeats(sink)
    done = await own.info("commandstats")
    assert "cmdstat_hmget" in done
    assert "cmdstat_xrange" not in done
    await own.xadd(log.keys.log(producer.id), {"e": b"tx"}, id=f"{producer.tail + 1}-{producer.fence.epoch}")
    await own.hset(log.keys.state(producer.id), "tail", str(producer.tail + 1))  # type: ignore[misc]  # and no publication
    await sink.until(producer.tail + 1)
    assert sink.ids == list(range(1, producer.tail + 2))
    await hub.stop()
    await client.aclose()


async def test_a_tail_that_takes_no_heartbeat_stops_nobody_elses(producer: Producer, own_url: str, log: Log) -> None:
    class Bad(RecordingSink):
        def write(self, chunk: bytes) -> None:
            if chunk == b":\n\n":
                raise RuntimeError

    client = connect(own_url, 2, 8)
    hub = Hub(log, client, window_bytes=400_000, heartbeat_ms=80, timeout_s=2)
    await hub.start()
    bad = Bad()
    async with hub.follow(producer.id) as follower:
        follower.join(FACE, producer.tail).begin(bad)
    good, _ = await join(hub, producer.id, producer.tail)
    await asyncio.wait_for(bad.closed.wait(), 5)
    for _ in range(2):
        good.written.clear()
        await asyncio.wait_for(good.written.wait(), 5)
    await hub.stop()
    await client.aclose()
