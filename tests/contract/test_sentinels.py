"""A primary that Sentinels watch may die: its streams go on at the one that takes its place.

PROTOCOL: Log/Sentinel, Log/Failover.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import inside
from tests.contract.worker_runs import client_alone, paid_by, read, start
from tests.provider.client import ProviderServer
from tests.servers import SERVER_KINDS, SentinelTrio

PASSWORDS = ("p@ss", "s:word")
TIMEOUT_S = 15.0


@pytest.fixture
def trio(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SentinelTrio]:
    binary = SERVER_KINDS[request.param]
    with SentinelTrio(tmp_path, binary, passwords=PASSWORDS, options={"appendfsync": "always"}) as trio:
        yield trio


def on(trio: SentinelTrio, settings: Settings, provider: ProviderServer) -> Settings:
    own = {"redis_url": SecretStr(trio.url), "lease_ms": 3_000, "redis_timeout_s": 2.0, "durable_intent": True}
    return paid_by(provider.url, settings, **own)


@pytest.mark.parametrize(
    ("trio", "lags"), [(kind, kind == "valkey") for kind in SERVER_KINDS], indirect=["trio"], ids=[*SERVER_KINDS]
)
async def test_a_killed_primary_costs_a_pause(
    trio: SentinelTrio, lags: bool, settings: Settings, provider: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Intent/Durable, Log/Sentinel, Log/Failover, Append/Rollback: also where the replica lacks the newest entries."""
    script = Script(words=150, delay_ms=20)
    own = on(trio, settings, provider)
    async with inside.worker(own), client_alone(own) as client:
        assert "min-replicas-to-write is 0" in caplog.text
        running = await start(client, script)
        reading = asyncio.create_task(read(client, running))
        await provider.begun()
        if lags:  # it hears nothing of what follows
            replica: Any = Redis(port=trio.replica.port, password=PASSWORDS[0])
            async with replica:
                while (tail := (await client.state(running))["tail"]) < 10:
                    await asyncio.sleep(0.02)
                await replica.execute_command("REPLICAOF", "NO", "ONE")
                while (state := await client.state(running))["tail"] < tail + 10:
                    await asyncio.sleep(0.02)
                assert int(await replica.hget(f"ms:{{{running}}}:state", "tail")) < state["tail"]
        trio.primary.kill()
        async with asyncio.timeout(TIMEOUT_S):
            got = await reading
            assert got.end == ("completed", None)
            assert got.joined("text") == script.text()
            waiting = await start(client, Script(words=3))
            while (await client.state(waiting))["status"] == "queued":
                await asyncio.sleep(0.02)
            assert len(await provider.calls()) == 1, "no call is paid before a replica has its intent"
            trio.primary.start()  # the Sentinels make a replica of it
            assert (await read(client, waiting)).end == ("completed", None)
    assert len(await provider.calls()) == 2
