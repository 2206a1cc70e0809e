"""What is told to stop stops, whatever Redis and apps do meanwhile (PROTOCOL: Drain)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.servers import ValkeyProcess, free_port
from tests.system import System, stop

DRAIN_S = 1
APPS = """
import asyncio
import time


async def stubborn(messages, params):
    try:
        yield "so far"
        await asyncio.sleep(60)
    finally:
        for _ in range(5):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass


async def crowd(messages, params):
    yield "so far"
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 60) for _ in range(40)))


async def calm(messages, params):
    yield "so far"
    await asyncio.sleep(60)
"""
MODELS = '{"stubborn": "slow:stubborn", "crowd": "slow:crowd", "calm": "slow:calm"}'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path) as server:
        yield server


@pytest.fixture
async def system(server: ValkeyProcess, tmp_path: Path) -> AsyncIterator[System]:
    (tmp_path / "slow.py").write_text(APPS)
    async with System(server.url, tmp_path, apps=MODELS, drain_s=DRAIN_S, redis_timeout_s=5) as system:
        yield await system.start()


async def answering(system: System, model: str) -> str:
    """Start a stream and return once it has said something."""
    stream_id = await system.post(model=model, input="x")
    while (await system.http.get(f"/v1/streams/{stream_id}")).json()["tail"] < 2:
        await asyncio.sleep(0.02)
    return stream_id


async def seconds_to_stop(system: System) -> float:
    began_s = time.monotonic()
    await stop(system.workers[0])
    assert system.workers[0].returncode == 0
    return time.monotonic() - began_s


async def test_a_worker_that_waits_for_redis_at_its_start_stops_at_once(tmp_path: Path) -> None:
    async with System(f"redis://127.0.0.1:{free_port()}/0", tmp_path) as system:
        system.workers.append(await system._spawn("worker0", "worker"))
        await system._logged("worker0", "waiting for Redis", system.workers[0])
        assert await seconds_to_stop(system) < 2


async def test_a_broker_with_keys_waits_for_redis_at_its_start(tmp_path: Path) -> None:
    """Processes/Waiting: its secret is there; it serves as soon as Redis does."""
    server = ValkeyProcess(tmp_path)
    async with System(server.url, tmp_path, api_keys="key:acme") as system:
        system.brokers.append(await system._spawn("broker0", "midstream", "broker", "--port", str(system.port)))
        await system._logged("broker0", "waiting for Redis", system.brokers[0])
        with server:
            await system._logged("broker0", "Application startup complete", system.brokers[0])
            assert (await system.http.get("/readyz")).status_code == 200
            await stop(system.brokers[0])


@pytest.mark.parametrize("away", ["dead", "silent"])
async def test_a_worker_stops_while_redis_is_away(system: System, server: ValkeyProcess, away: str) -> None:
    """*Drain/Bounded*: its stream is left to the reapers."""
    await answering(system, "app/calm")
    if away == "dead":
        server.kill()
    else:
        server.freeze()
    assert await seconds_to_stop(system) < DRAIN_S + 8
    assert "left to the reaper" in system.log("worker0")
    if away == "silent":
        server.thaw()


async def test_a_cancel_does_not_wait_for_an_app_that_is_slow_to_stop(system: System) -> None:
    stream_id = await answering(system, "app/stubborn")
    await system.http.post(f"/v1/streams/{stream_id}/cancel")
    assert (await system.ended(stream_id, 1))["outcome"] == "cancelled"


async def test_a_drain_does_not_wait_for_an_app_that_is_slow_to_stop(system: System) -> None:
    stream_id = await answering(system, "app/stubborn")
    assert await seconds_to_stop(system) < DRAIN_S + 4
    ended = await system.ended(stream_id, 1)
    assert (ended["outcome"], ended["error"]["code"]) == ("interrupted", "worker_lost")
    assert "app/stubborn does not stop" in system.log("worker0")


async def test_a_drain_does_not_wait_for_threads_that_an_app_has_filled(system: System) -> None:
    """Forty blocking calls in `asyncio.to_thread` leave no thread to anybody else."""
    stream_id = await answering(system, "app/crowd")
    assert await seconds_to_stop(system) < DRAIN_S + 4
    assert (await system.ended(stream_id, 1))["outcome"] == "interrupted"
