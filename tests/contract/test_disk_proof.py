"""The durable intent refuses to start where it would not hold, and waits where it does (PROTOCOL: Intent/Durable)."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.log.connect import connect
from midstream.log.disk_proof import prove_disk
from midstream.log.errors import UnfitServer
from midstream.log.fsync import Fsync
from tests.servers import ValkeyProcess, free_port
from tests.system import System


async def proven(folder: Path, **options: str) -> bool:
    """Try a server, and return whether every write is on its disk before it is answered."""
    with ValkeyProcess(folder, options) as server:
        redis = connect(server.url, 5, 4)
        fsync = Fsync(redis, "ms")
        try:
            await prove_disk(redis, fsync)
            assert await fsync.wait()
        finally:
            await redis.aclose()
        return fsync.each_write


async def test_a_server_that_writes_each_answer_to_its_disk_holds(tmp_path: Path) -> None:
    assert await proven(tmp_path, appendfsync="always")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"appendfsync": "everysec"}, "confirmed two writes within|does not say when"),  # Valkey; Redis 7.0
        ({"appendfsync": "no"}, "leaves it to the system"),
        ({"appendonly": "no"}, "no append-only file"),
    ],
    ids=["everysec", "no", "no file"],
)
async def test_a_server_that_would_forget_is_refused(tmp_path: Path, options: dict[str, str], why: str) -> None:
    with pytest.raises(UnfitServer, match=why):
        await proven(tmp_path, **options)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    with ValkeyProcess(tmp_path) as server:
        async with System(server.url, tmp_path, durable_intent="true") as system:
            yield system


async def test_a_worker_does_not_start_on_it(system: System) -> None:
    process = await system._spawn("worker0", "worker")
    system.workers.append(process)
    async with asyncio.timeout(15):
        assert await process.wait() == 2
    assert "MIDSTREAM_DURABLE_INTENT cannot hold here" in system.log("worker0")
    assert "appendfsync always" in system.log("worker0")


async def test_a_full_server_does_not_turn_the_waiting_off(tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path) as server:
        redis: Any = Redis(port=server.port)
        fsync = Fsync(redis, "ms")
        await redis.config_set("maxmemory", "1mb")
        await asyncio.gather(fsync.wait(), return_exceptions=True)
        await redis.config_set("maxmemory", "0")
        waited = [await fsync.wait() for _ in range(2)]
        await redis.aclose()
    assert waited == [True, True] or "redis-server" in server._binary  # Redis 7.0 knows no WAITAOF


async def test_who_leaves_while_the_disk_is_waited_for_leaves_no_error(caplog: pytest.LogCaptureFixture) -> None:
    redis = connect(f"redis://127.0.0.1:{free_port()}/0", 1, 1)
    fsync = Fsync(redis, "ms")
    leaving = asyncio.create_task(fsync.wait())
    await asyncio.sleep(0)
    (waiting,) = [task for task in asyncio.all_tasks() if task.get_name() == "fsync"]
    leaving.cancel()
    await asyncio.wait((leaving, waiting))
    assert fsync._round is waiting
    del leaving, waiting, fsync
    gc.collect()  # when asyncio reports an exception that nobody has looked at
    assert not caplog.records
    await redis.aclose()
