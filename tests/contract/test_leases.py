"""Leases are kept while the worker lives, whatever its apps, its connections and the server do (PROTOCOL: Lease)."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream import counters
from midstream.log.log import Log
from midstream.settings import Settings
from tests import inside
from tests.contract.worker_runs import client_alone, read
from tests.faults.proxy import Command, Proxy, runs
from tests.servers import ValkeyProcess, free_port
from tests.system import System

LEASE_MS = 1_000
LEASE_S = LEASE_MS / 1_000
TIMEOUT_S = 3
APPS = """
import asyncio
import re
import time


async def calm(messages, params):
    yield "a "
    await asyncio.sleep(float(messages[-1]["content"]))
    yield "b"


async def blocking(messages, params):
    yield "a "
    time.sleep(float(messages[-1]["content"]))
    yield "b"
"""


async def calm(messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield "a "
    await asyncio.sleep(float(messages[-1]["content"]))
    yield "b"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path) as server:
        yield server


def settings_of(url: str, **further: Any) -> Settings:
    apps = {"calm": f"{__name__}:calm"}
    return Settings(redis_url=SecretStr(url), lease_ms=LEASE_MS, apps=apps, **{"redis_timeout_s": TIMEOUT_S, **further})


@pytest.fixture
async def system(redis_url: str, tmp_path: Path) -> AsyncIterator[System]:
    (tmp_path / "apps.py").write_text(APPS)
    apps = '{"calm": "apps:calm", "blocking": "apps:blocking"}'
    async with System(redis_url, tmp_path, apps=apps, lease_ms=LEASE_MS, app_block_s=4) as system:
        yield await system.start()


async def test_an_app_that_blocks_the_loop_costs_no_other_stream_its_lease(system: System) -> None:
    """Lease/Road, Lease/Hung: a block is logged with its app and line."""
    calm = await system.post(model="app/calm", input="3")
    blocking = await system.post(model="app/blocking", input="2.5")
    assert (await system.ended(blocking))["outcome"] == "completed"
    assert (await system.ended(calm))["outcome"] == "completed"
    log = system.log("worker0")
    assert "app/blocking" in log
    assert re.search("apps.py:1[45] in blocking", log), log
    blocked = re.search(r"it was blocked for ([0-9.]+) s", log)
    assert blocked, log
    assert float(blocked[1]) == pytest.approx(2.5, abs=0.4)


async def test_a_worker_whose_loop_never_turns_again_is_ended(system: System) -> None:
    """Lease/Hung"""
    stream_id = await system.post(model="app/blocking", input="60")
    async with asyncio.timeout(4 + 5):
        assert await system.workers[0].wait() == 70
    ended = await system.ended(stream_id, 5)
    assert (ended["outcome"], ended["error"]["code"]) == ("interrupted", "worker_lost")
    assert "app/blocking" in system.log("worker0").splitlines()[-1]


async def until_renewed(log: Log, stream_id: str) -> None:
    """Return right after a renewal, when the lease has all of its time before it."""
    seen: set[int] = set()
    async with asyncio.timeout(10):
        while len(seen) < 2:  # the claim's and the renewal's
            state = await log.state(stream_id)
            if state is not None and state.lease_until_ms:
                seen.add(state.lease_until_ms)
            await asyncio.sleep(0.005)


async def test_an_error_that_passes_does_not_end_the_renewals(server: ValkeyProcess) -> None:
    """Lease/Supervised."""
    settings = settings_of(server.url)
    async with (
        Redis(port=server.port) as redis,
        client_alone(settings) as client,
        inside.worker(settings),
    ):
        running = (await client.start("3", model="app/calm"))["id"]
        await until_renewed(Log(redis, "ms"), running)
        await redis.replicaof("127.0.0.1", 1)
        await asyncio.sleep(0.5 * LEASE_S)  # longer than from one renewal to the next
        await redis.replicaof("NO", "ONE")
        later = (await client.start("2", model="app/calm"))["id"]
        assert [(await read(client, stream_id)).end for stream_id in (running, later)] == [("completed", None)] * 2


async def test_half_open_connections_cost_no_lease(server: ValkeyProcess) -> None:
    """Lease/Again: Redis' time-out is far longer than a lease, and no connection is ever closed."""
    proxy = await Proxy(free_port(), server.port).open()
    direct, through = settings_of(server.url), settings_of(f"redis://127.0.0.1:{proxy.port}/0")
    async with client_alone(direct) as client, inside.worker(through):
        stream_ids = [(await client.start("2", model="app/calm"))["id"] for _ in range(8)]
        await asyncio.sleep(0.2)
        proxy.swallow()
        ends = [(await read(client, stream_id)).end for stream_id in stream_ids]
    await proxy.close()
    assert ends == [("completed", None)] * 8


async def test_busy_appends_do_not_starve_the_renewals(server: ValkeyProcess) -> None:
    """Lease/Road: with all connections of the pool taken for longer than a lease, the leases hold."""
    proxy = await Proxy(free_port(), server.port).open()
    direct = settings_of(server.url)
    through = settings_of(f"redis://127.0.0.1:{proxy.port}/0", redis_connections=2)
    async with client_alone(direct) as client, inside.worker(through):
        blockers = [(await client.start("0.3", model="app/calm"))["id"] for _ in range(2)]
        calm = (await client.start("2.5", model="app/calm"))["id"]
        await asyncio.sleep(0.2)
        for stream_id in blockers:
            proxy.rule(runs("seal", stream_id), "hold")
        began_s = time.monotonic()
        assert (await read(client, calm)).end == ("completed", None)
        assert time.monotonic() - began_s > LEASE_S
        for stream_id in blockers:
            assert (await read(client, stream_id)).end == ("completed", None)
    await proxy.close()


async def test_a_renewal_that_meets_our_own_end_is_no_loss(
    server: ValkeyProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Lease/Renew: the end has taken effect, and its answer is on its way for two renewals."""
    proxy = await Proxy(free_port(), server.port).open()
    direct = settings_of(server.url)
    through = settings_of(f"redis://127.0.0.1:{proxy.port}/0", redis_timeout_s=LEASE_S)
    losses = counters.counts().get(("lease_losses",), 0)
    async with client_alone(direct) as client, inside.worker(through):
        await read(client, (await client.start("0", model="app/calm"))["id"])  # the server knows the scripts now
        calm = (await client.start("0.3", model="app/calm"))["id"]
        proxy.rule(runs("seal", calm), "hold_reply")
        renewal = proxy.rule(runs("renew", calm), "late", nth=100)
        await client.state(calm, 10)
        before = renewal.seen
        async with asyncio.timeout(10):
            while renewal.seen < before + 2:
                await asyncio.sleep(0.01)
        assert (await read(client, calm)).end == ("completed", None)
    await proxy.close()
    assert "is lost to us" not in caplog.text
    assert counters.counts().get(("lease_losses",), 0) == losses


async def test_writes_that_wait_for_redis_are_reported_once(
    server: ValkeyProcess, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Append/Delayed: more streams than connections, none of which the server answers for a while."""
    monkeypatch.setattr("midstream.attempts.write_delays.CALM_S", 0.1)
    proxy = await Proxy(free_port(), server.port).open()
    direct = settings_of(server.url)
    through = settings_of(f"redis://127.0.0.1:{proxy.port}/0", redis_connections=2, redis_timeout_s=0.3)
    away = True
    stream_ids: list[str] = []
    held = proxy.rule(
        lambda command: away and any(runs("seal", each)(command) for each in stream_ids), "hold", once=False
    )
    async with client_alone(direct) as client, inside.worker(through):
        stream_ids += [(await client.start("0.3", model="app/calm"))["id"] for _ in range(8)]
        async with asyncio.timeout(20):
            while held.seen < 6:  # the third round, so all others have waited in vain for a connection
                await asyncio.sleep(0.01)
            away = False
            for stream_id in stream_ids:
                assert (await read(client, stream_id)).end == ("completed", None)
            while not (
                over := re.search(r"writes wait for Redis no longer, after \S+ s and in (\d+) streams", caplog.text)
            ):
                await asyncio.sleep(0.01)
    await proxy.close()
    assert int(over[1]) > 2
    assert caplog.text.count("have to wait for Redis") == 1


async def test_leases_are_renewed_by_thirds_and_a_worker_that_cannot_takes_no_more(
    server: ValkeyProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Lease/Renew, Lease/Overloaded."""
    proxy = await Proxy(free_port(), server.port).open()
    direct, through = settings_of(server.url), settings_of(f"redis://127.0.0.1:{proxy.port}/0")
    async with client_alone(direct) as client, inside.worker(through):
        calm = (await client.start("30", model="app/calm"))["id"]
        renewed_s: list[float] = []
        blocked = False

        def is_renewal(command: Command) -> bool:
            is_blocked = runs("renew", calm)(command) and b"intent" not in command
            if is_blocked:
                renewed_s.append(time.monotonic())
            return is_blocked and blocked

        proxy.rule(is_renewal, "hold", once=False)
        async with asyncio.timeout(20):
            while len(renewed_s) < 7:
                await asyncio.sleep(0.01)
            assert (renewed_s[-1] - renewed_s[0]) / 6 == pytest.approx(LEASE_S / 3, rel=0.3)
            blocked = True
            while "overloaded" not in caplog.text:
                await asyncio.sleep(0.01)
            later = (await client.start("0", model="app/calm"))["id"]
            await asyncio.sleep(LEASE_S / 10)  # a slip is taken within a few milliseconds
            assert (await client.state(later))["status"] == "queued"
            blocked = False
            assert (await read(client, later)).end == ("completed", None)
            await client.cancel(calm)
            await read(client, calm)
        assert caplog.text.count("overloaded") == 1
    await proxy.close()
