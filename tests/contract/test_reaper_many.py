"""Thousands of streams of one lost worker end in time, however far Redis is away (PROTOCOL: Recovery/In time)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from midstream.lifecycle.reaper import LANES, Reaper
from midstream.lifecycle.slips import Slips
from midstream.log.connect import connect
from midstream.log.errors import LogError
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.log.state import State
from midstream.log.values import Fence, Notes
from midstream.service.resources import REAPER_CONNECTIONS
from midstream.settings import Settings
from tests.contract.new_streams import create
from tests.servers import ValkeyProcess

STREAMS = 500
LEASE_MS = 3_000
DISTANCE_S = 0.020
"""One after another, they would take more than ten seconds."""
STARVED = Path("/proc/self/schedstat")
CHUNK = 65_536


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path) as server:
        yield server


@pytest.fixture
async def distant_url(server: ValkeyProcess) -> AsyncIterator[str]:
    """The server's URL by way of a proxy that adds a distance to each round trip."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            loop.call_later(DISTANCE_S / 2, writer.write, data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", server.port)
        pumps = [asyncio.create_task(forward(reader, their_writer)), asyncio.create_task(forward(their_reader, writer))]
        tasks.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, their_writer):
            each.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
    listener.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def starved_ms() -> float:
    """Return how long this process has been ready to run without being given a processor, so far."""
    return int(STARVED.read_text().split()[1]) / 1e6


async def lost(log: Log, policy: str) -> str:
    """A running stream whose call was made, and whose owner is never heard of again."""
    stream_id = new_id()
    await create(log, stream_id, policy=policy, look_in_ms=LEASE_MS)
    fence = (await log.claim(stream_id, "lost", LEASE_MS)).fence
    await log.renew(stream_id, fence, LEASE_MS, Notes(intent=1))
    return stream_id


@pytest.mark.not_on("sentinel", "cluster", why="what Sentinels and nodes name is dialled past the proxy")
@pytest.mark.parametrize("policy", ["interrupt", "restart"])
async def test_many_streams_of_a_lost_worker(server: ValkeyProcess, distant_url: str, policy: str) -> None:
    """Recovery/Many, Recovery/In time."""
    near, far = connect(server.url, 10, 8), connect(distant_url, 10, REAPER_CONNECTIONS)  # as in a broker
    log = Log(near, "ms")
    ids: list[str] = []
    while len(ids) < STREAMS:
        ids += await asyncio.gather(*(lost(log, policy) for _ in range(100)))
    settings = Settings(redis_url=SecretStr(distant_url), lease_ms=LEASE_MS)
    reaper = Reaper(Log(far, "ms"), Registry(far, "ms"), Slips(far, "ms", 60), settings)
    # All lose their lease at one moment, as those of one worker do.
    states = await log.many.states(ids)
    fences = [
        (each, Fence(state.epoch, "lost")) for each, state in zip(ids, states, strict=True) if isinstance(state, State)
    ]
    assert not any(isinstance(answer, LogError) for answer in await log.many.renew(fences, LEASE_MS))
    reaper.start()
    begun_ms = starved_ms()
    seconds, microseconds = await near.time()
    renewed_ms = seconds * 1_000 + microseconds // 1_000
    changed_ms: list[int] = []
    async with asyncio.timeout(30):
        while len(changed_ms) < STREAMS:
            await asyncio.sleep(0.1)
            states = await log.many.states(ids)
            changed_ms = [
                state.ended_ms or state.queued_ms
                for state in states
                if isinstance(state, State) and state.status != "running"
            ]
    await reaper.stop()
    dialled = len(far.connection_pool._available_connections)
    await near.aclose()
    await far.aclose()
    # The promise is about a machine that lets the reaper run: what this process waited for a processor is taken off.
    assert max(changed_ms) - renewed_ms - LEASE_MS < 1_000 + starved_ms() - begun_ms
    assert dialled == LANES, "pages are looked at side by side, and none waits for another one's connection"
