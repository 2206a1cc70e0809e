"""A primary that Sentinels watch may die: its streams go on at the one that takes its place.

PROTOCOL: Log/Sentinel, Log/Failover.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
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
from tests.servers import SERVER_KINDS, SentinelProcess, ValkeyProcess

SERVICE = "main"
PASSWORD, SENTINEL_PASSWORD = "p@ss", "s:word"
DOWN_MS = 300
TIMEOUT_S = 15.0
ENCODED = "p%40ss", "s%3Aword"


def _admin(server: ValkeyProcess, password: str = PASSWORD) -> Any:
    return Redis(port=server.port, password=password)


class Trio:
    """A primary, its replica and three Sentinels on loopback, all with passwords."""

    def __init__(self, folder: Path, kind: str) -> None:
        binary = SERVER_KINDS[kind]
        options = {"requirepass": PASSWORD, "masterauth": PASSWORD, "appendfsync": "always"}
        options |= {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
        folders = [folder / name for name in ("primary", "replica", "s0", "s1", "s2")]
        for each in folders:
            each.mkdir()
        self.primary = ValkeyProcess(folders[0], options, binary)
        replica_of = {"replicaof": f"127.0.0.1 {self.primary.port}"}
        self.replica = ValkeyProcess(folders[1], options | replica_of, binary)
        self.sentinels = [SentinelProcess(each, {}, binary) for each in folders[2:]]
        for sentinel in self.sentinels:
            sentinel.lines = (
                f"requirepass {SENTINEL_PASSWORD}",
                f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
                f"sentinel monitor {SERVICE} 127.0.0.1 {self.primary.port} 2",
                f"sentinel auth-pass {SERVICE} {PASSWORD}",
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}",
                f"sentinel failover-timeout {SERVICE} 2000",
            )
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        self.url = f"redis+sentinel://:{ENCODED[0]}@{hosts}/{SERVICE}/0?sentinel_password={ENCODED[1]}"

    async def ready(self) -> None:
        """Return once the Sentinels know each other and the replica, and look often."""
        for sentinel in self.sentinels:
            async with _admin(sentinel, SENTINEL_PASSWORD) as client:
                periods = ("PING-PERIOD", "INFO-PERIOD", "ASK-PERIOD", "PUBLISH-PERIOD")
                await client.execute_command("SENTINEL", "DEBUG", *(word for each in periods for word in (each, 100)))
        for sentinel in self.sentinels:
            async with _admin(sentinel, SENTINEL_PASSWORD) as client:
                while (await client.sentinel_master(SERVICE))["num-other-sentinels"] < len(self.sentinels) - 1:
                    await asyncio.sleep(0.05)
                while not (rows := await client.sentinel_slaves(SERVICE)) or "s_down" in rows[0]["flags"]:
                    await asyncio.sleep(0.05)
        async with _admin(self.primary) as client:
            while not await client.execute_command("WAIT", 1, 100):
                pass


@pytest.fixture
async def trio(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trio]:
    trio = Trio(tmp_path, request.param)
    async with contextlib.AsyncExitStack() as stack:
        for each in (trio.primary, trio.replica, *trio.sentinels):
            stack.enter_context(each)
        async with asyncio.timeout(TIMEOUT_S):
            await trio.ready()
        yield trio


def on(trio: Trio, settings: Settings, provider: ProviderServer) -> Settings:
    own = {"redis_url": SecretStr(trio.url), "lease_ms": 3_000, "redis_timeout_s": 2.0, "durable_intent": True}
    return paid_by(provider.url, settings, **own)


@pytest.mark.parametrize(
    ("trio", "lags"), [(kind, kind == "valkey") for kind in SERVER_KINDS], indirect=["trio"], ids=[*SERVER_KINDS]
)
async def test_a_killed_primary_costs_a_pause(
    trio: Trio, lags: bool, settings: Settings, provider: ProviderServer, caplog: pytest.LogCaptureFixture
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
            async with _admin(trio.replica) as replica:
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
