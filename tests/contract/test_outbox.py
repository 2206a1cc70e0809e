"""PROTOCOL: Ends/Outbox, Ends/Order: ends that wait for outlets, on a log without a broker."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.lifecycle.reaper import Reaper
from midstream.lifecycle.slips import Slips
from midstream.log import calls, outbox
from midstream.log.entries import END, Entry, encode
from midstream.log.errors import LogUnavailable
from midstream.log.log import Log
from midstream.log.outbox import EVERYBODY, Box, Outbox, Outlet, Taken
from midstream.log.registry import Registry
from midstream.log.state import NOTHING_LEFT
from midstream.log.values import Ending, Fence, NewStream
from midstream.settings import Settings
from tests.system import ROOT

USERS = (ROOT / "deploy/users.acl").read_text()
ALL, ACME = Outlet("hook", EVERYBODY), Outlet("webhook-1", "acme")
END_ENTRY = encode(Entry(END, {"outcome": "failed", "error": {"code": "internal", "message": "m"}}))


@pytest.fixture
def log(redis: Redis) -> Log:
    return Log(redis, "ms")


@pytest.fixture
async def box(redis: Redis) -> Outbox:
    """An outbox with an outlet for all tenants and one for a tenant."""
    each = Outbox(redis, "ms", 60_000, 100)
    await each.name("hook", [ALL])
    await each.name("webhook", [ACME])
    return each


async def end(log: Log, name: str, thread: str = "") -> None:
    """Create a stream and end it."""
    new = NewStream(digest="d", tenant="t", model="m", ttl_s=60, request=b"{}", thread=thread)
    await log.create(name, new, look_in_ms=5_000)
    await log.seal(name, Fence.of_reaper(0), 0, Ending([END_ENTRY], "failed"))


async def take(box: Outbox, outlet: Outlet = ALL, claim_ms: int = 60_000) -> Sequence[Taken]:
    return (await look(box, outlet, claim_ms)).taken


async def look(box: Outbox, outlet: Outlet = ALL, claim_ms: int = 60_000, most: int = 100) -> Box:
    _, boxes = await box.take({outlet.name: most}, claim_ms, 120_000)
    return boxes[outlet.name]


async def test_each_end_is_noted_once_for_each_outlet_of_its_tenant(log: Log, box: Outbox, redis: Redis) -> None:
    """Ends/Outbox."""
    await end(log, "acme/1")
    await end(log, "2")
    registry = Registry(redis, "ms")
    await registry.unwatch({"acme/1": NOTHING_LEFT})  # as by a reaper, and again
    assert sorted(each.stream_id for each in await take(box)) == ["2", "acme/1"]
    (taken,) = await take(box, ACME)
    assert taken.stream_id == "acme/1"
    assert (taken.facts["outcome"], taken.facts["end"]) == (b"failed", END_ENTRY)


async def test_what_an_outlet_has_taken_leaves_nothing(log: Log, box: Outbox, redis: Redis) -> None:
    """Ends/Outbox: I8."""
    await end(log, "acme/1", thread="t")
    before = {key for key in await redis.keys() if b"outbox" in key or b"notice" in key}
    assert len(before) == 1 + 2 * 3
    for outlet in (ALL, ACME):
        (taken,) = await take(box, outlet)
        assert await box.settle(taken, "taken")
        assert not await box.settle(taken, "taken")  # somebody else whose claim ran out comes late
    assert [key for key in await redis.keys() if b"outbox" in key or b"notice" in key] == []


async def test_an_end_whose_process_died_is_noted_by_the_reaper(log: Log, box: Outbox, settings: Settings) -> None:
    """Ends/Outbox: a kill between the end and all that comes after it."""
    new = NewStream(digest="d", tenant="t", model="m", ttl_s=60, request=b"{}")
    await log.create("1", new, look_in_ms=0)
    keys = log.keys
    seal = calls.Seal(
        state=keys.state("1"),
        log=keys.log("1"),
        epoch=0,
        owner="",
        expected_tail=0,
        channel=keys.channel("1"),
        outcome="failed",
        entries=[END_ENTRY],
    )
    assert (await log._scripts.run(seal))[0] == b"ok"
    assert await take(box) == []
    redis = log._registry._redis
    reaper = Reaper(log, Registry(redis, "ms"), Slips(redis, "ms", 60), settings)
    reaper.start()
    async with asyncio.timeout(10):
        while not (taken := await take(box)):
            await asyncio.sleep(0.02)
    await reaper.stop()
    assert [each.stream_id for each in taken] == ["1"]


async def test_one_end_of_a_thread_is_handed_out_at_a_time_and_in_order(log: Log, box: Outbox) -> None:
    """Ends/Order: a failed one is handed out again before the next."""
    for name in ("3", "1", "2"):
        await end(log, name, thread="t")
        await asyncio.sleep(0.002)
    order = []
    for result in ("again", "taken", "taken", "taken"):
        (taken,) = await take(box)
        assert await take(box) == []
        order.append((taken.stream_id, taken.tries))
        await box.settle(taken, "again" if result == "again" else "taken")
    assert order == [("3", 1), ("3", 2), ("1", 1), ("2", 1)]


async def test_a_claim_runs_out(log: Log, box: Outbox) -> None:
    """Ends/Order: a deliverer that died keeps nothing back."""
    await end(log, "1")
    assert len(await take(box, claim_ms=30)) == 1
    await asyncio.sleep(0.05)
    (taken,) = await take(box)
    assert taken.tries == 2


async def test_a_process_whose_claim_ran_out_moves_nothing(log: Log, box: Outbox) -> None:
    """Ends/Order: it was frozen, and another process has the end under way."""
    await end(log, "1")
    (late,) = await take(box, claim_ms=1)
    await asyncio.sleep(0.005)
    (taken,) = await take(box)
    assert not await box.settle(late, "again")
    assert await take(box) == []
    assert await box.settle(taken, "again")
    assert len(await take(box)) == 1


async def test_what_is_sent_again_waits_for_what_its_thread_has_under_way(log: Log, box: Outbox) -> None:
    """Ends/Order, Ends/Abandoned."""
    for name in ("1", "2"):
        await end(log, name, thread="t")
        await asyncio.sleep(0.002)
    (first,) = await take(box)
    await box.settle(first, "abandoned")
    (second,) = await take(box)
    assert await box.send_again(ALL.name, ["1"]) == 1
    assert await take(box) == []
    await box.settle(second, "taken")
    assert [each.stream_id for each in await take(box)] == ["1"]


async def test_a_deleted_stream_is_not_told_of(log: Log, box: Outbox) -> None:
    """Ends/Deleted."""
    await end(log, "1")
    await log.delete("1", 1)
    (taken,) = await take(box)
    assert taken.facts == {}


async def test_what_was_abandoned_can_be_sent_again(log: Log, box: Outbox) -> None:
    """Ends/Abandoned."""
    await end(log, "1")
    (taken,) = await take(box)
    await box.settle(taken, "abandoned")
    assert await take(box) == []
    assert [*await box.abandoned(ALL.name)] == ["1"]
    assert await box.send_again(ALL.name, ["1", "unknown"]) == 1
    assert await box.abandoned(ALL.name) == {}
    (again,) = await take(box)
    assert (again.stream_id, again.tries, again.facts["outcome"]) == ("1", 1, b"failed")


async def test_a_full_outbox_loses_ends_and_says_so(log: Log, redis: Redis) -> None:
    """Ends/Outbox: I9."""
    box = Outbox(redis, "ms", 60_000, 2)
    await box.name("hook", [ALL])
    for name in ("1", "2", "3"):
        await end(log, name)
    full = await look(box, most=0)
    assert (full.waiting, full.lost, full.taken) == (2, 1, [])
    assert full.oldest_ms is not None


async def test_an_outlet_that_nobody_names_is_forgotten(log: Log, box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends/Outlets: if others of its kind are named."""
    monkeypatch.setattr(outbox, "FORGET_MS", 20)
    await asyncio.sleep(0.03)
    assert await box.name("webhook", []) == [ACME.name]
    await end(log, "acme/1")
    assert await take(box, ACME) == []
    assert len(await take(box)) == 1


async def test_a_worker_of_older_rules_ends_streams_all_the_same(
    log: Log, box: Outbox, redis: Redis, redis_url: str
) -> None:
    """Ends/Outlets: its user of `deploy/users.acl` reaches no outbox, which stays empty."""
    (rules,) = (line.split()[2:] for line in USERS.splitlines() if line.startswith("user worker "))
    older = [word for word in rules if word not in ("WORKER_PASSWORD", "~ms:outlets", "~ms:outbox:*", "on")]
    admin: Any = redis
    await admin.execute_command("ACL", "SETUSER", "older", *older, "on", "nopass")
    try:
        async with Redis.from_url(redis_url.replace("//", "//older:x@")) as client:
            new = NewStream(digest="d", tenant="t", model="m", ttl_s=60, request=b"{}")
            await log.create("1", new, look_in_ms=5_000)
            await Log(client, "ms").seal("1", Fence.of_reaper(0), 0, Ending([END_ENTRY], "failed"))
            assert await redis.zcard("ms:due") == 0
            with pytest.raises(LogUnavailable):
                await Outbox(client, "ms", 60_000, 100).name("hook", [])
    finally:
        await admin.execute_command("ACL", "DELUSER", "older")
    assert await take(box) == []
