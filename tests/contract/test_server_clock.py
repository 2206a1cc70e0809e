"""The clock of Redis is set while streams run: no producer is lost by it, or forgotten (PROTOCOL: Recovery/Clock)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from midstream.lifecycle.reaper import Reaper
from midstream.lifecycle.server_clock import ServerClock
from midstream.lifecycle.slips import Slips
from midstream.log.connect import connect
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.log.state import State
from midstream.settings import Settings
from tests.contract.lost_workers import create_and_claim
from tests.faults.families.skew import LIBRARIES, available
from tests.servers import ValkeyProcess

LEASE_MS = 1_000
LEASE_S = LEASE_MS / 1_000

pytestmark = pytest.mark.skipif(bool(available()), reason=available())
Set = Callable[[int], object]


@pytest.fixture
def clock(tmp_path: Path) -> Set:
    """Sets the server's clock by seconds."""
    (tmp_path / "offset").write_text("+0")
    return lambda by_s: (tmp_path / "offset").write_text(f"{by_s:+d}")


@pytest.fixture
def server(tmp_path: Path, clock: Set) -> Iterator[ValkeyProcess]:  # noqa: ARG001 - it has made the file
    environment = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "offset"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with ValkeyProcess(tmp_path, environment=environment) as server:
        yield server


@pytest.fixture
async def log(server: ValkeyProcess) -> AsyncIterator[Log]:
    """A log with a reaper that has heard it."""
    settings = Settings(redis_url=SecretStr(server.url), lease_ms=LEASE_MS)
    client = connect(server.url, 10, 8)
    log = Log(client, "ms")
    reaper = Reaper(log, Registry(client, "ms"), Slips(client, "ms", 60), settings)
    reaper.start()
    await asyncio.sleep(0.5)
    yield log
    await reaper.stop()
    await client.aclose()


async def state_of(log: Log, stream_id: str) -> State:
    state = await log.state(stream_id)
    assert state is not None
    return state


@pytest.mark.parametrize("by_s", [5, 3_600, -3_600])
async def test_an_owner_that_renews_is_not_lost(log: Log, clock: Set, by_s: int) -> None:
    stream_id, fence = await create_and_claim(log, LEASE_MS)
    clock(by_s)
    for _ in range(9):
        await asyncio.sleep(LEASE_S / 3)
        await log.renew(stream_id, fence, LEASE_MS)  # StreamSealed, had it been called lost
    assert (await state_of(log, stream_id)).status == "running"


@pytest.mark.parametrize("by_s", [5, 3_600, -3_600])
async def test_an_owner_that_is_gone_is_lost(log: Log, clock: Set, by_s: int) -> None:
    stream_id, _ = await create_and_claim(log, LEASE_MS)
    clock(by_s)
    async with asyncio.timeout(2 * LEASE_S + 1):
        while not (state := await state_of(log, stream_id)).ended:
            await asyncio.sleep(0.05)
    assert state.outcome == "interrupted"


async def test_a_queued_stream_is_not_timed_out_by_a_clock(log: Log, clock: Set) -> None:
    stream_id, fence = await create_and_claim(log, LEASE_MS)
    await log.release(stream_id, fence)
    clock(3_600)
    await asyncio.sleep(2 * LEASE_S)
    assert (await state_of(log, stream_id)).status == "queued"


@pytest.mark.parametrize(
    ("readings", "set_ms", "ages"),
    [
        ([(10_000, 1.0), (11_000, 2.0)], 0, {9_000: 2_000}),
        ([(10_000, 1.0), (16_000, 2.0)], 5_000, {9_000: 1_000, 15_990: 10, 16_000: 0}),
        ([(10_000, 1.0), (6_000, 2.0)], -5_000, {9_000: 1_000, 5_000: 1_000}),
        ([(10_000, 1.0), (70_000, 61.0)], 0, {9_000: 1_000}),
    ],
    ids=["steady", "set forward", "set back", "silent for a minute"],
)
def test_ages(readings: list[tuple[int, float]], set_ms: int, ages: dict[int, int]) -> None:
    clock = ServerClock(100)
    assert [clock.hear(now_ms, at_s, at_s) for now_ms, at_s in readings][-1] == set_ms
    for since_ms, age_ms in ages.items():
        assert clock.age_ms(since_ms, readings[-1][0]) <= age_ms + 100  # never older than it is
