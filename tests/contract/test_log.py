"""PROTOCOL: Create, Claim, Append, Seal, Lease, Cancel, Delete, Reading: on a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from midstream.log import entries
from midstream.log.cluster_feed import feed_of
from midstream.log.connect import connect
from midstream.log.entries import Entry, decode, encode, parse_publication, text
from midstream.log.errors import (
    IdempotencyMismatch,
    LeaseHeld,
    LogFull,
    StaleEpoch,
    StreamAbsent,
    StreamDeleted,
    StreamSealed,
    TailMismatch,
)
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.values import Ending, Fence, Notes
from tests.contract.new_streams import create
from tests.faults.proxy import Proxy
from tests.servers import ValkeyProcess, free_port

END = encode(Entry(entries.END, {"outcome": "completed"}))
LEASE_MS = 60_000


@pytest.fixture
async def log(redis: Redis) -> AsyncIterator[Log]:
    log = Log(redis, "ms")
    yield log
    await redis.delete(log.keys.near("x").due)  # there is no reaper here that would


@pytest.fixture
async def log_client(redis_url: str) -> AsyncIterator[Redis]:
    """A client as processes have it, with connections that a feed can read."""
    client = connect(redis_url, 5, 8)
    yield client
    await client.aclose(close_connection_pool=True)


@pytest.fixture
async def stream_id(log: Log) -> AsyncIterator[str]:
    stream_id = new_id()
    await create(log, stream_id, digest="digest", model="demo/story")
    yield stream_id
    state = await log.state(stream_id)
    if state is not None and not state.ended:
        await log.delete(stream_id, 1)


async def test_create_is_idempotent_by_digest(log: Log, stream_id: str) -> None:
    """Create/Idempotent."""
    assert await create(log, stream_id, digest="digest") is None
    with pytest.raises(IdempotencyMismatch):
        await create(log, stream_id, digest="another")


async def test_create_is_atomic_among_many(log: Log) -> None:
    """Create/Atomic."""
    stream_id = new_id()
    made = await asyncio.gather(*(create(log, stream_id) for _ in range(50)))
    assert sum(created is not None for created in made) == 1
    await log.delete(stream_id, 1)


async def test_a_claim_raises_the_epoch_and_writes_start(log: Log, stream_id: str) -> None:
    """Claim/Fence."""
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    state, rows = await log.read(stream_id, 0, 10)
    assert (fence, tail) == (Fence(1, "me"), 1)
    assert [decode(r.content, r.offset, r.epoch) for r in rows] == [
        Entry(entries.START, {"epoch": 1, "model": "demo/story"}, 1, 1)
    ]
    assert state is not None
    assert (state.status, state.epoch, state.tail) == ("running", 1, 1)


async def test_of_many_claims_one_succeeds(log: Log, stream_id: str) -> None:
    """Claim/Once."""
    claims = await asyncio.gather(*(log.claim(stream_id, f"w{i}", LEASE_MS) for i in range(20)), return_exceptions=True)
    assert sum(not isinstance(c, StaleEpoch) for c in claims) == 1


async def test_offsets_are_dense_over_batches(log: Log, stream_id: str) -> None:
    """Append/Dense, Read/After."""
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    tail = await log.append(stream_id, fence, tail, [encode(text("a")), encode(text("b"))])
    tail = await log.append(stream_id, fence, tail, [encode(text("c"))], upstream_cursor=9)
    _, rows = await log.read(stream_id, 0, 100)
    state, page = await log.read(stream_id, 2, 1)
    assert [r.offset for r in rows] == [1, 2, 3, 4]
    assert [r.content for r in page] == [b"tb"]
    assert state is not None
    assert (state.tail, state.upstream_cursor) == (tail, 9)


async def test_append_refuses_a_wrong_tail_and_says_which(log: Log, stream_id: str) -> None:
    """Append/Tail."""
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    with pytest.raises(TailMismatch) as refused:
        await log.append(stream_id, fence, tail + 3, [b"tx"])
    assert (refused.value.expected, refused.value.actual) == (4, 1)


async def test_an_older_epoch_and_a_foreign_owner_are_fenced(log: Log, stream_id: str) -> None:
    """Append/Fence, I6."""
    claim = await log.claim(stream_id, "lost", 1)
    lost, tail = claim.fence, claim.state.tail
    await _expired(log, stream_id)
    await log.release(stream_id, Fence(lost.epoch, ""))
    with pytest.raises(StaleEpoch):  # fenced at once, before anybody claimed again
        await log.append(stream_id, lost, tail, [b"tx"])
    claim = await log.claim(stream_id, "next", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    for intruder in (lost, Fence(fence.epoch, "lost")):
        with pytest.raises(StaleEpoch) as refused:
            await log.append(stream_id, intruder, tail, [b"tx"])
        assert refused.value.current == 2
        with pytest.raises(StaleEpoch):
            await log.renew(stream_id, intruder, LEASE_MS)
        with pytest.raises(StaleEpoch):
            await log.seal(stream_id, intruder, tail, Ending([END], "completed"))


async def test_a_sealed_stream_refuses_everything_and_expires(log: Log, redis: Redis, stream_id: str) -> None:
    """Append/Sealed, Seal/One."""
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    await log.seal(stream_id, fence, tail, Ending([b"tlast", END], "completed"))
    for refused in (
        log.append(stream_id, fence, tail, [b"tx"]),
        log.seal(stream_id, fence, tail, Ending([END], "failed")),
        log.renew(stream_id, fence, LEASE_MS),
        log.release(stream_id, fence),
        log.claim(stream_id, "other", LEASE_MS),
        log.cancel(stream_id, Ending([END], "cancelled")),
    ):
        with pytest.raises(StreamSealed) as sealed:
            await refused
        assert (sealed.value.outcome, sealed.value.epoch, sealed.value.owner) == ("completed", 1, "me")
    for key in (log.keys.state(stream_id), log.keys.log(stream_id)):
        assert 0 < await redis.pttl(key) <= 60_000


async def test_nothing_re_creates_a_deleted_stream(log: Log, redis: Redis, stream_id: str) -> None:
    """Append/Absent, Create/Idempotent, Delete/Tombstone."""
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    await log.delete(stream_id, 60)
    for refused in (
        log.append(stream_id, fence, tail, [b"tx"]),
        log.claim(stream_id, "me", 1),
        log.delete(stream_id, 1),
    ):
        with pytest.raises(StreamAbsent):
            await refused
    with pytest.raises(StreamDeleted):
        await create(log, stream_id, digest="digest")
    assert await redis.exists(log.keys.log(stream_id)) == 0
    assert await log.state(stream_id) is None


async def test_an_append_publishes_what_it_wrote(log: Log, log_client: Redis, stream_id: str) -> None:
    """Append/Published."""
    messages: asyncio.Queue[bytes] = asyncio.Queue()

    def take(news: list[tuple[str, bytes]]) -> None:
        for channel, message in news:
            assert channel == log.keys.channel(stream_id)
            messages.put_nowait(message)

    feed = feed_of(log_client, take, lambda: None, 5)
    feed.start()
    await feed.subscribe(log.keys.channel(stream_id))
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    await log.append(stream_id, fence, tail, [b"ta", b"tb"])
    got = [entry for _ in range(2) for entry in parse_publication(await messages.get())]
    await feed.stop()
    _, rows = await log.read(stream_id, 0, 10)
    assert got == rows


async def test_the_reaper_seals_only_what_nobody_holds(log: Log, stream_id: str) -> None:
    """Lease/Expired."""
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    reaper = Fence(fence.epoch, "")
    with pytest.raises(LeaseHeld):
        await log.seal(stream_id, reaper, tail, Ending([END], "interrupted"))
    with pytest.raises(LeaseHeld):
        await log.release(stream_id, reaper)
    await log.renew(stream_id, fence, 1)
    await _expired(log, stream_id)
    await log.seal(stream_id, reaper, tail, Ending([END], "interrupted"))
    with pytest.raises(StreamSealed):
        await log.append(stream_id, fence, tail, [b"tx"])


async def test_an_expired_owner_may_renew_until_somebody_took_over(log: Log, stream_id: str) -> None:
    """Lease/Expired."""
    claim = await log.claim(stream_id, "me", 1)
    fence, tail = claim.fence, claim.state.tail
    await _expired(log, stream_id)
    assert await log.renew(stream_id, fence, LEASE_MS, Notes(intent=1, upstream_id="resp_1")) is False
    state = await log.state(stream_id)
    assert state is not None
    assert (state.intent, state.upstream_id) == (1, "resp_1")
    assert await log.append(stream_id, fence, tail, [b"tx"]) == tail + 1


async def test_cancel_seals_a_queued_stream_and_flags_a_running_one(log: Log, stream_id: str) -> None:
    """Cancel/Effect."""
    other = new_id()
    await create(log, other)
    assert await log.cancel(other, Ending([END], "cancelled")) is True
    with pytest.raises(StreamSealed):
        await log.cancel(other, Ending([END], "cancelled"))

    fence = (await log.claim(stream_id, "me", LEASE_MS)).fence
    assert await log.renew(stream_id, fence, LEASE_MS) is False
    assert await log.cancel(stream_id, Ending([END], "cancelled")) is False
    assert await log.renew(stream_id, fence, LEASE_MS) is True


async def test_only_an_ended_log_is_trimmed(log: Log, stream_id: str) -> None:
    """Read/Trimmed."""
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    tail = await log.append(stream_id, fence, tail, [b"ta", b"tb", b"tc"])
    with pytest.raises(StaleEpoch):
        await log.trim(stream_id, 3)
    await log.seal(stream_id, fence, tail, Ending([END], "completed"))
    assert await log.trim(stream_id, 3) == 3
    state, rows = await log.read(stream_id, 0, 10)
    assert [r.offset for r in rows] == [3, 4, 5]
    assert state is not None
    assert (state.first, state.tail) == (3, 5)
    assert await log.trim(stream_id, 99) == 5, "the terminal entry is always kept"


async def test_the_terminal_entry_is_written_to_a_full_server(log: Log, node: Redis, stream_id: str) -> None:
    """Seal/OOM."""
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    used = int((await node.info("memory"))["used_memory"])
    await node.config_set("maxmemory", used // 2)
    try:
        with pytest.raises(LogFull):
            await log.append(stream_id, fence, tail, [b"tx"])
        await log.seal(stream_id, fence, tail, Ending([END], "failed"))
    finally:
        await node.config_set("maxmemory", 0)


@pytest.mark.not_on("cluster", why="a client of a cluster goes round a proxy to the node itself")
@pytest.mark.parametrize("meanwhile", ["append", "seal", "delete"])
async def test_a_page_and_its_state_are_of_one_moment(
    log: Log, redis: Redis, stream_id: str, redis_server: ValkeyProcess, meanwhile: str
) -> None:
    """PROTOCOL: Read/Moment, though no transaction holds the two reads together."""
    claim = await log.claim(stream_id, "me", LEASE_MS)
    fence, tail = claim.fence, claim.state.tail
    tail = await log.append(stream_id, fence, tail, [b"ta"])
    proxy = await Proxy(free_port(), redis_server.port).open()
    between: Redis = Redis(port=proxy.port)
    rule = proxy.rule(lambda command: command[0] == b"XRANGE", "late")
    reading = asyncio.create_task(Log(between, "ms").read(stream_id, 0, 10))
    await rule.reached.wait()
    while not any(client["cmd"] == "hmget" for client in await redis.client_list()):
        pass  # the state has been read once this holds

    match meanwhile:
        case "append":
            await log.append(stream_id, fence, tail, [b"tb"])
        case "seal":
            await log.seal(stream_id, fence, tail, Ending([END], "completed"))
        case _:
            await log.delete(stream_id, 1)
    rule.go.set()
    state, rows = await reading
    if meanwhile == "delete":
        assert (state, rows) == (None, [])
    else:
        assert state is not None
        assert (state.tail, state.ended, [row.offset for row in rows]) == (2, False, [1, 2])
    await between.aclose()
    await proxy.close()


async def _expired(log: Log, stream_id: str) -> None:
    """Wait until the server's clock has passed a lease of 1 ms."""
    while True:
        state = await log.state(stream_id)
        assert state is not None
        seconds, micros = await log._scripts._redis.time()
        if seconds * 1000 + micros // 1000 > state.lease_until_ms:
            return
