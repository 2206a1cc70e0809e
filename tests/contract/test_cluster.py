"""The log on a cluster: three primaries, and a replica of the first (PROTOCOL: Log/Cluster, Log/Shards, Log/Moved)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.crc import key_slot

from midstream.client.client import Midstream
from midstream.log.changes import BEGINNING, Changes
from midstream.log.cluster import ClusterRedis
from midstream.log.cluster_feed import ClusterFeed
from midstream.log.cluster_keys import ClusterKeys
from midstream.log.connect import connect
from midstream.log.costs import Costs
from midstream.log.entries import END, Entry, encode
from midstream.log.facts import FactReader
from midstream.log.keys import tenant_of
from midstream.log.log import Log
from midstream.log.outbox import EVERYBODY, Outbox, Outlet
from midstream.log.registry import Registry
from midstream.log.values import Ending, Fence, NewStream
from midstream.log.whole import WholeStreams
from midstream.money.prices import NANO
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import inside
from tests.contract.worker_runs import paid_by, read, start
from tests.provider.client import ProviderServer
from tests.servers import ClusterProcesses
from tests.slots import move_at_once, move_key_by_key

TENANTS = ("acme", "beta", "gamma", "delta")
TIMEOUT_S = 20.0
PRIMARIES = 3
AWAY_MS = 1_500


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    with ClusterProcesses(tmp_path_factory.mktemp("cluster"), primaries=PRIMARIES, replicas=1) as processes:
        yield processes


@pytest.fixture
async def cluster(processes: ClusterProcesses) -> AsyncIterator[ClusterRedis]:
    """A client of the cluster, which is empty."""
    client = connect(processes.url, 2.0, 4)
    assert isinstance(client, ClusterRedis)
    await client.ping()
    for node in client.nodes.primaries():
        await node.flushall()
    yield client
    await client.aclose(close_connection_pool=True)


@pytest.fixture
def on_cluster(processes: ClusterProcesses, settings: Settings, provider: ProviderServer) -> Settings:
    keys = ",".join(f"key-of-{tenant}:{tenant}" for tenant in TENANTS)
    own = {"redis_url": SecretStr(processes.url), "queue_redis_url": settings.redis_url, "lease_ms": 3_000}
    return paid_by(provider.url, settings, **own, api_keys=SecretStr(keys), tenant_generations=3)


@asynccontextmanager
async def clients_of(settings: Settings) -> AsyncIterator[list[Midstream]]:
    """Yield a client of each tenant, of a broker that has one worker."""
    async with inside.worker(settings), inside.broker(settings) as http, AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Midstream(str(http.base_url), api_key=f"key-of-{tenant}"))
            for tenant in TENANTS
        ]


async def all_keys(cluster: ClusterRedis) -> dict[str, Redis]:
    return {key.decode(): node for node in cluster.nodes.primaries() async for key in node.scan_iter(count=1_000)}


async def test_each_tenant_has_a_shard(on_cluster: Settings, cluster: ClusterRedis, provider: ProviderServer) -> None:
    """Log/Cluster, Log/Shards: starts, tails, lists, limits and cancels are those of one server."""
    script = Script(words=20, delay_ms=5)
    async with asyncio.timeout(TIMEOUT_S), clients_of(on_cluster) as clients:
        ids = await asyncio.gather(*(start(client, script, thread="talk") for client in clients))
        for client, got in zip(clients, await asyncio.gather(*map(read, clients, ids)), strict=True):
            assert got.end == ("completed", None)
            assert got.joined("text") == script.text()
            assert [row["id"] for row in (await client.list())["data"]] == [got.state["id"]]  # I7
        assert len(await provider.calls()) == len(ids)  # I4
        stopped = await start(clients[0], Script(words=500, delay_ms=20))
        reading = asyncio.create_task(read(clients[0], stopped))
        await provider.begun(len(ids))
        await clients[0].cancel(stopped)
        assert (await reading).end == ("cancelled", None)
        shards = {key.split("}")[0] for key in await all_keys(cluster)}
        keys = ClusterKeys("ms")
        assert {keys.near(f"{tenant}/x").prefix[:-1] for tenant in TENANTS} <= shards
        assert all(shard.startswith("ms:{") for shard in shards)
        assert await Registry(cluster, "ms").live(10) == ([], 0)
    assert len({cluster.owner(shard.due) for shard in keys.shards}) == PRIMARIES


async def test_what_reads_all_streams_reads_all_shards(cluster: ClusterRedis) -> None:
    """Log/Shards: lists of ends, outboxes, facts, sums and scans; tenants may be on different nodes."""
    names = [f"{tenant}/1" for tenant in TENANTS]
    log, registry, box = Log(cluster, "ms"), Registry(cluster, "ms"), Outbox(cluster, "ms", 60_000, 100)
    changes, facts = Changes(cluster, "ms"), FactReader(cluster, "ms")
    await box.name("hook", [Outlet("hook", EVERYBODY)])
    assert await box.outlets() == [Outlet("hook", EVERYBODY)]
    for name in names:
        new = NewStream(digest="d", tenant=tenant_of(name), model="m", ttl_s=60, request=b"{}", thread="talk")
        await log.create(name, new, look_in_ms=0)
    due = await registry.due(400, 10, 10_000)
    assert (sorted(due.looks_ms), due.is_whole) == (sorted(names), True)
    news = await changes.since(BEGINNING, 10)
    assert (news.live, news.ended, news.is_complete) == (frozenset(names), [], True)
    end = {"outcome": "failed", "error": {"code": "c", "message": "m"}, "cost": {"amount": "5", "currency": "EUR"}}
    ending = Ending([encode(Entry(END, end))], "failed")
    for name in names:
        await log.seal(name, Fence.of_reaper(0), 0, ending)
    news = await changes.since(news.position, 10)
    assert (news.live, sorted(news.ended), news.is_complete) == (frozenset(), sorted(names), True)
    assert (await changes.since(news.position, 10)).ended == []
    assert [row and row.outcome for row in await facts.read(["acme/none", *names])] == [None, *["failed"] * len(names)]
    sums = await Costs(cluster, "ms").day(
        "tenant", "EUR", f"{datetime.fromtimestamp(news.now_ms / 1000, UTC):%Y-%m-%d}"
    )
    assert sums == dict.fromkeys(TENANTS, 5 * NANO)
    assert sorted([name async for page in WholeStreams(cluster, "ms").names() for name in page]) == sorted(names)
    taken: list[str] = []
    for most in (3, 3):
        _, boxes = await box.take({"hook": most}, 60_000, 120_000)
        assert len(boxes["hook"].taken) <= most
        assert boxes["hook"].waiting == len(names) - len(taken)
        for each in boxes["hook"].taken:
            assert await box.settle(each, "taken")
            taken.append(each.stream_id)
    assert sorted(taken) == sorted(names)
    for name in names:
        await log.delete(name, 60)
    assert await log.states(names) == [None] * len(names)


async def test_a_node_that_is_away_keeps_what_others_have_lost_from_nobody(cluster: ClusterRedis) -> None:
    """Log/Moved: its channels stay unconfirmed, while those of another node are subscribed again and read anew."""
    regained: asyncio.Queue[set[str]] = asyncio.Queue()
    feed = ClusterFeed(cluster, lambda _: None, lambda: regained.put_nowait({*feed._confirmed}), TIMEOUT_S)
    channels = {cluster.owner(shard.control): shard.control for shard in ClusterKeys("ms").shards}
    first, other, *_ = channels.values()
    feed.start()
    async with asyncio.timeout(TIMEOUT_S):
        for channel in (first, other):
            await feed.subscribe(channel)
        assert await regained.get() == {first, other}
        away, back = (cluster.nodes.client(cluster.owner(channel) or ("", 0)) for channel in (first, other))
        await away.client_kill_filter(_type="pubsub")
        await away.client_pause(AWAY_MS)  # it answers nobody who connects again
        await back.client_kill_filter(_type="pubsub")
        assert await regained.get() == {other}
        assert await regained.get() == {first, other}
    await feed.stop()


async def test_slots_move_under_load(on_cluster: Settings, cluster: ClusterRedis, provider: ProviderServer) -> None:
    """Log/Moved: keys go one by one to another node, and on at once, while a stream of theirs is written and read."""
    script = Script(words=100, delay_ms=30)
    slot = key_slot(ClusterKeys("ms").near("acme/x").due.encode())
    async with asyncio.timeout(TIMEOUT_S), clients_of(on_cluster) as (client, *_):
        running = await start(client, script, thread="talk")
        reading = asyncio.create_task(read(client, running))
        await provider.begun()
        assert await move_key_by_key(cluster, slot) >= 3
        await goes_on(client, running)
        await move_at_once(cluster, slot)
        await goes_on(client, running)
        assert not reading.done()
        got = await reading
        assert got.end == ("completed", None)
        assert got.joined("text") == script.text()  # I5
        assert len(await provider.calls()) == 1  # I4
        assert await Registry(cluster, "ms").live(10) == ([], 0)


async def goes_on(client: Midstream, stream_id: str) -> None:
    tail = (await client.state(stream_id))["tail"]
    while (await client.state(stream_id))["tail"] < tail + 5:
        await asyncio.sleep(0.02)


async def test_a_killed_primary_is_an_outage(
    on_cluster: Settings, cluster: ClusterRedis, processes: ClusterProcesses, provider: ProviderServer
) -> None:
    """Log/Moved, Log/Failover: the replica takes the slots, and its streams go on; those of other nodes never stop."""
    script = Script(words=70, delay_ms=40)
    keys = ClusterKeys("ms")
    first = ("127.0.0.1", processes.nodes[0].port)
    at_first = [cluster.owner(keys.near(f"{tenant}/x").due) == first for tenant in TENANTS]
    assert len(set(at_first)) == 2
    async with asyncio.timeout(TIMEOUT_S), clients_of(on_cluster) as clients:
        ids = await asyncio.gather(*(start(client, script) for client in clients))
        reading = [asyncio.create_task(read(client, each)) for client, each in zip(clients, ids, strict=True)]
        await provider.begun(len(ids) - 1)
        processes.nodes[0].kill()
        for each in reading:
            got = await each
            assert got.end == ("completed", None)
            assert got.joined("text") == script.text()
        assert len(await provider.calls()) == len(ids)
        (again,) = await asyncio.gather(start(clients[at_first.index(True)], Script(words=3)))
        assert (await read(clients[at_first.index(True)], again)).end == ("completed", None)
