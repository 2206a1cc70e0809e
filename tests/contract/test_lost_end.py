"""A server that loses an end which was not yet on its disk has it written again (PROTOCOL: Seal/Durable)."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from midstream.settings import Settings
from tests import inside
from tests.contract.worker_runs import client_alone, read
from tests.faults.proxy import Proxy
from tests.servers import SERVER_BINARY, ValkeyProcess, free_port


async def pausing(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield "a "
    await asyncio.sleep(1)
    yield "b"


@pytest.mark.skipif(Path(SERVER_BINARY).name == "redis-server", reason="Redis 7.0 knows no WAITAOF")
async def test_an_end_that_the_server_lost_is_written_again(tmp_path: Path) -> None:
    """Seal/Durable, Append/Rollback."""
    with ValkeyProcess(tmp_path) as server:
        proxy = await Proxy(free_port(), server.port).open()
        through = f"redis://127.0.0.1:{proxy.port}/0"
        apps = {"pausing": f"{__name__}:pausing"}
        direct = Settings(redis_url=SecretStr(server.url), lease_ms=3_000, redis_timeout_s=10, apps=apps)
        proxied = direct.model_copy(update={"redis_url": SecretStr(through)})
        async with client_alone(direct) as client, inside.worker(proxied):
            stream_id = (await client.start("x", model="app/pausing"))["id"]
            while (await client.state(stream_id))["tail"] < 2:  # `start` and the first text
                await asyncio.sleep(0.01)
            files, copy = tmp_path / "appendonlydir", tmp_path / "copy"
            await asyncio.to_thread(shutil.copytree, files, copy)
            waiting = proxy.rule(lambda command: command[0] == b"WAITAOF", "hold")
            whole = await read(client, stream_id)
            assert whole.end == ("completed", None)
            await waiting.reached.wait()  # nobody has told the producer that the end is on disk
            await asyncio.to_thread(server.kill)
            shutil.rmtree(files)
            copy.rename(files)
            await asyncio.to_thread(server.start)
            again = await read(client, stream_id)
            assert [(entry.type, entry.data) for entry in again.entries] == [
                (entry.type, entry.data) for entry in whole.entries
            ]
            assert again.state["epoch"] == 1
        await proxy.close()
