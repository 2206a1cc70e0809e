"""PROTOCOL: Log/Refusals: whatever a real server refuses with, the log raises its own errors, and recovers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis as redis_sync
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.lifecycle.slips import Slips
from midstream.log import redis_errors
from midstream.log.chat_pointers import Chats
from midstream.log.connect import connect
from midstream.log.errors import LogFull, LogUnavailable
from midstream.log.fsync import Fsync
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.log.state import NOTHING_LEFT
from midstream.log.tries import Tries
from midstream.settings import Settings
from tests import inside
from tests.contract.new_streams import create
from tests.servers import SERVER_KINDS, ValkeyProcess

TIMEOUT_S = 5.0
NOBODY = ("127.0.0.1", "1")


@dataclass
class Server:
    """A server of one kind, a client that no error is in the way of, and the log's rooms on a pool of their own."""

    process: ValkeyProcess
    admin: Any
    redis: Redis

    def rooms(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        log, registry = Log(self.redis, "ms"), Registry(self.redis, "ms")
        tries = Tries(self.redis, "ms")
        chats, slips = Chats(self.redis, "ms"), Slips(self.redis, "ms", 9)
        return {
            "create": lambda: create(log, new_id()),
            "read": lambda: log.read("s", 0, 9),
            "state": lambda: log.state("s"),
            "ready": registry.ready,
            "ping": registry.ping,
            "due": lambda: registry.due(9, 9, 9),
            "unwatch": lambda: registry.unwatch({"s": NOTHING_LEFT}),
            "add": lambda: registry.add("t", "s", 1, 9),
            "listed": lambda: registry.listed("t", None, 9),
            "drop": lambda: registry.drop("t", ["s"]),
            "first try": lambda: tries.first("d", "s", "b"),
            "retry": lambda: tries.retry("d", "s", "b", 1, patient=False),
            "try over": lambda: tries.over("d", "s", "b", 0, delivered=False),
            "broker": lambda: tries.beat("b"),
            "chat": lambda: chats.find("t", "c"),
            "turn": lambda: chats.begin("t", "c", 1, "d", "s", 9),
            "seen": lambda: chats.note_seen("t", "c", "s", 9),
            "new slip": lambda: slips.write("s", 0, new=True),
            "slip": lambda: slips.write("s", 0),
            "fsync": Fsync(self.redis, "ms").wait,
        }


@pytest.fixture(params=SERVER_KINDS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    options = {"enable-protected-configs": "local", "busy-reply-threshold": "20"}
    with ValkeyProcess(tmp_path, options, binary=SERVER_KINDS[request.param]) as process:
        admin: Any = Redis.from_url(process.url)
        redis = connect(process.url, TIMEOUT_S, 4)
        yield Server(process, admin, redis)
        await redis.aclose(close_connection_pool=True)
        await admin.aclose()


async def refusals(server: Server) -> dict[str, str]:
    """Return the code by which each room was refused; anything but an error of the log's own fails."""
    refused = {}
    for name, call in server.rooms().items():
        try:
            await asyncio.wait_for(call(), TIMEOUT_S)
        except LogFull as error:
            refused[name] = f"full: {error.code}"
        except LogUnavailable as error:
            refused[name] = error.code
    return refused


READS = {"read", "state", "ping", "listed", "chat"}


async def test_a_replica_refuses_every_write_and_is_waited_for(server: Server) -> None:
    await server.admin.execute_command("REPLICAOF", *NOBODY)
    refused = await refusals(server)
    assert set(refused) == set(server.rooms()) - READS
    assert set(refused.values()) == {"READONLY"}
    await server.admin.execute_command("REPLICAOF", "NO", "ONE")
    assert await refusals(server) == {}


async def test_a_replica_without_its_primary_refuses_reads_too(server: Server) -> None:
    await server.admin.config_set("replica-serve-stale-data", "no")
    await server.admin.execute_command("REPLICAOF", *NOBODY)
    refused = await refusals(server)
    assert set(refused) == set(server.rooms())
    assert set(refused.values()) == {"READONLY", "MASTERDOWN"}
    await server.admin.execute_command("REPLICAOF", "NO", "ONE")
    assert await refusals(server) == {}


async def test_a_server_without_its_replicas_is_waited_for(server: Server) -> None:
    await server.admin.config_set("min-replicas-to-write", 1)
    refused = await refusals(server)
    assert set(refused) == set(server.rooms()) - READS
    assert set(refused.values()) == {"NOREPLICAS"}
    await server.admin.config_set("min-replicas-to-write", 0)
    assert await refusals(server) == {}


async def test_a_full_server_refuses_what_grows_and_says_why(server: Server) -> None:
    """PROTOCOL: Seal/OOM. Redis 7.0 refuses whatever stands in a MULTI, reads too; Valkey does not."""
    assert await refusals(server) == {}
    await server.admin.config_set("maxmemory", "1mb")
    refused = await refusals(server)
    assert READS.isdisjoint(refused), "what is there can be read"
    assert {"due", "unwatch", "drop", "fsync"}.isdisjoint(refused), "what a reaper needs is written"
    assert {"create", "ready", "add", "first try", "retry", "new slip", "seen"} <= set(refused)
    assert set(refused.values()) == {"full: OOM"}
    await server.admin.config_set("maxmemory", 0)
    assert await refusals(server) == {}


async def test_a_server_that_cannot_save_is_waited_for(server: Server, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    await server.admin.config_set("save", "3600 1000000")
    await server.admin.config_set("dir", str(nowhere))
    nowhere.rmdir()
    await server.admin.execute_command("BGSAVE")
    while (await server.admin.info("persistence"))["rdb_last_bgsave_status"] == "ok":
        await asyncio.sleep(0.01)
    refused = await refusals(server)
    assert set(refused) >= set(server.rooms()) - READS
    assert set(refused.values()) == {"MISCONF"}
    await server.admin.config_set("dir", str(tmp_path))
    await server.admin.config_set("stop-writes-on-bgsave-error", "no")
    assert await refusals(server) == {}


async def test_a_server_that_runs_a_long_script_is_waited_for(server: Server) -> None:
    await refusals(server)  # connected, and its scripts are known
    endless: Any = Redis.from_url(server.process.url)
    running = asyncio.create_task(endless.eval("while true do end", 0))
    while True:
        try:
            await server.admin.ping()
        except redis_sync.ResponseError:
            break
    refused = await refusals(server)
    assert set(refused) == set(server.rooms())
    assert set(refused.values()) == {"BUSY"}
    await server.admin.script_kill()
    await asyncio.wait((running,))
    assert isinstance(running.exception(), redis_sync.ResponseError)
    await endless.aclose()
    assert await refusals(server) == {}


async def test_a_user_without_rights_is_told_so(server: Server) -> None:
    await server.admin.execute_command("ACL", "SETUSER", "default", "-@scripting", "-@write")
    refused = await refusals(server)
    assert set(refused) == set(server.rooms()) - READS
    assert set(refused.values()) == {"NOPERM"}
    await server.admin.execute_command("ACL", "SETUSER", "default", "+@all")
    assert await refusals(server) == {}


async def test_a_wrong_password_is_told_as_one(server: Server) -> None:
    await server.admin.config_set("requirepass", "secret")
    refused = await refusals(server)
    assert set(refused) == set(server.rooms())
    assert set(refused.values()) == {"NOAUTH"}
    await server.admin.config_set("requirepass", "")
    assert await refusals(server) == {}


async def test_too_many_connections_are_waited_out(server: Server) -> None:
    await server.admin.config_set("maxclients", 1)
    refused = await refusals(server)
    assert set(refused) == set(server.rooms())
    await server.admin.config_set("maxclients", 100)
    assert await refusals(server) == {}


async def test_a_server_that_loads_its_data_is_waited_for(server: Server) -> None:
    await server.admin.execute_command("DEBUG", "POPULATE", 20_000, "key", 100)
    await server.admin.config_set("key-load-delay", 100)
    await server.admin.config_set("loading-process-events-interval-bytes", 1024)
    loading = asyncio.create_task(_reload(server.process.url))
    while not loading.done():
        refused = await refusals(server)
        if "LOADING" in refused.values():
            break
    else:
        pytest.fail("it was not seen to load")
    await server.admin.config_set("key-load-delay", 0)
    await loading
    assert await refusals(server) == {}


async def _reload(url: str) -> None:
    client: Any = Redis.from_url(url)
    await client.execute_command("DEBUG", "RELOAD")
    await client.aclose()


async def test_an_error_never_holds_what_was_written(server: Server) -> None:
    await server.admin.config_set("maxmemory", "1mb")
    log = Log(server.redis, "ms")
    with pytest.raises(LogFull) as raised:
        await create(log, new_id(), request=b"a planted prompt")
    error: BaseException | None = raised.value
    while error is not None:
        assert "planted" not in str(error)
        error = error.__cause__ or error.__context__


async def test_a_broker_refuses_starts_and_says_so(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Create/Start."""
    monkeypatch.setattr(redis_errors, "_noted_s", {})  # as in a process that has heard no refusal yet
    settings = Settings(redis_url=SecretStr(server.process.url), redis_timeout_s=TIMEOUT_S)
    start = {"model": "demo/story", "input": "x"}
    async with inside.broker(settings) as http:
        for why, code in (("1mb", "log_full"), ("0", "")):
            await server.admin.config_set("maxmemory", why)
            answers = [await http.get("/readyz"), await http.post("/v1/streams", json=start)]
            for answer in answers:
                assert answer.is_success == (not code), answer.text
                assert not code or (answer.status_code, answer.json()["code"]) == (503, code)
                assert not code or answer.headers["retry-after"]
        await server.admin.execute_command("REPLICAOF", *NOBODY)
        for path in ("/readyz", "/v1/streams"):
            answer = await (http.post(path, json=start) if path == "/v1/streams" else http.get(path))
            assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
            assert "READONLY" in answer.json()["detail"]
        await server.admin.execute_command("REPLICAOF", "NO", "ONE")
        assert (await http.get("/readyz")).is_success
    reports = [record.message for record in caplog.records if "(OOM)" in record.message]
    assert len(reports) == 1, "the log file says it once"
