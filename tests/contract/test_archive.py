"""Archives: what is exported, wiped and imported is what was there, whenever either program is killed."""

import asyncio
import fcntl
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.cli.main import main
from midstream.log.connect import connect
from midstream.log.log import Log
from midstream.log.trail import Trail
from midstream.operate.archive import exporter
from midstream.operate.archive.archive_lines import ArchiveError
from midstream.operate.archive.exporter import Selection
from midstream.settings import Settings
from tests import inside
from tests.contract.archives import bring_in, contents_of, expiries_ms, export, write_stream
from tests.contract.ws_talk import dial
from tests.faults.proxy import Command, Proxy
from tests.servers import ValkeyProcess, free_port

ROOT = Path(__file__).parents[2]
USERS = ROOT / "deploy/users.acl"
KEY = {"Authorization": "Bearer alpha"}
TURN: dict[str, Any] = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
ASK: dict[str, Any] = {"model": "demo/story", "messages": [{"role": "user", "content": "hi"}], "stream": True}
STARTS: dict[str, dict[str, Any]] = {
    "/v1/streams": {"model": "demo/story", "input": "hi", "thread": "t", "user": "ann", "stream": True},
    "/v1/responses": {"model": "demo/story", "input": "hi", "stream": True},
    "/v1/chat/completions": ASK,
    "/v1/messages": ASK | {"max_tokens": 99},
    "/api/chat": TURN | {"model": "demo/story"},
}
SECRETS = {"api_keys": SecretStr("alpha:acme")}


def headers(path: str) -> dict[str, str]:
    return KEY | {"Idempotency-Key": f"order of {path}"}


async def readings(client: httpx2.AsyncClient, stream_ids: dict[str, str]) -> dict[str, bytes]:
    """Read every stream through every face, from its start and from its middle, and how it is listed and found."""
    paths = ["/v1/streams", "/v1/streams?thread=t", "/v1/streams?status=completed", "/api/chat/c/stream"]
    for stream_id in stream_ids.values():
        of_stream = ("", "/events", "/events?after=7", "/entries?after=3&limit=9", "?wait=1")
        paths += [f"/v1/streams/{stream_id}{rest}" for rest in of_stream]
    response = f"/v1/responses/resp_{stream_ids['/v1/responses']}"
    paths += [response, f"{response}?stream=true", f"{response}?stream=true&starting_after=9"]
    read: dict[str, bytes] = {}
    for path in paths:
        answer = await client.get(path, headers=KEY)
        assert answer.status_code in (200, 204), (path, answer.text)
        read[path] = answer.content
    cursor = {"Last-Event-ID": f"{stream_ids['/api/chat'][:8]}.7"}
    read["chat, resumed"] = (await client.get("/api/chat/c/stream", headers=KEY | cursor)).content
    assert b"finish" in read["chat, resumed"]
    async with dial(client, additional_headers=KEY) as talk:
        await talk.say(type="tail", id=stream_ids["/v1/streams"], after=7)
        read["socket"] = orjson.dumps(await talk.entries(stream_ids["/v1/streams"]))
    for path, body in STARTS.items():
        answer = await client.post(path, json=body, headers=headers(path))
        assert answer.status_code == 200, (path, answer.text)
        read[f"again {path}"] = answer.content
    return read


async def test_an_imported_installation_answers_as_the_one_before(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """Archive/Export, Archive/Import, Archive/Secret: by every face, from the middle, and nothing is paid again."""
    settings = settings.model_copy(update=SECRETS)
    stream_ids = {}
    async with inside.broker(settings) as client:
        async with inside.worker(settings):
            for path, body in STARTS.items():
                answer = await client.post(path, json=body, headers=headers(path))
                assert answer.status_code in (200, 201), (path, answer.text)
                stream_ids[path] = answer.headers["stream-id"]
        before = await readings(client, stream_ids)
    kept, expiries = await contents_of(redis), await expiries_ms(redis)
    assert (await export(redis, tmp_path / "all.gz")).streams == len(STARTS)
    await redis.flushall()
    imported = await bring_in(redis, (tmp_path / "all.gz").read_bytes())
    assert (imported.streams, imported.conflicts) == (len(STARTS), {})
    assert {key: abs(at - expiries[key]) < 50 for key, at in (await expiries_ms(redis)).items()} == dict.fromkeys(
        expiries, True
    )
    assert await redis.xlen("ms:ended") == len(STARTS), "operators find them"
    lasting = (b"ms:{", b"ms:index", b"ms:thread", b"ms:chat", b"ms:secret", b"ms:stored")
    assert await contents_of(redis) == {key: value for key, value in kept.items() if key.startswith(lasting)}
    await bring_in(redis, (tmp_path / "all.gz").read_bytes(), prefix="other")
    pointer: Any = redis.hget(f"other:{{acme/{stream_ids['/api/chat']}}}:state", "pointer")
    assert await redis.exists(await pointer), "a chat is found by another prefix, too"
    async with inside.broker(settings) as client:  # no worker: what is not found would never be answered
        after = await readings(client, stream_ids)
    assert after == before


async def test_an_import_that_is_killed_at_any_command_can_be_repeated(
    redis: Redis, redis_server: ValkeyProcess, tmp_path: Path
) -> None:
    """Archive/Import: nothing is lost, doubled or half there, whether the command took effect or not."""
    for number in range(2):
        await write_stream(redis, f"acme/s{number}", user="ann", outcome="failed")
    await redis.set("ms:secret", "s" * 64)
    await export(redis, tmp_path / "all.gz")
    archive, kept = (tmp_path / "all.gz").read_bytes(), await contents_of(redis)
    proxy = await Proxy(free_port(), redis_server.port).open()
    kills = 0
    for action in ("hold", "hold_reply"):
        nth, is_killed = 0, True
        while is_killed:
            nth += 1
            await redis.flushdb()
            proxy.rules.clear()
            rule = proxy.rule(_is_of_import, action, nth=nth)
            link = connect(f"redis://127.0.0.1:{proxy.port}/0", 5.0, 2)
            importing, reached = asyncio.create_task(bring_in(link, archive)), asyncio.create_task(rule.reached.wait())
            await asyncio.wait((importing, reached), return_when=asyncio.FIRST_COMPLETED)
            is_killed = not importing.done()
            importing.cancel()
            reached.cancel()
            await asyncio.gather(importing, reached, return_exceptions=True)
            proxy.cut()
            await link.aclose(close_connection_pool=True)
            halves = [key for key in await redis.keys("ms:{*") if b":import:" not in key]
            assert len(halves) % 2 == 0, "a state has its log"
            assert all([await redis.pttl(key) > 0 for key in await redis.keys("*:import:*")])
            imported = await bring_in(redis, archive)
            assert (imported.streams + imported.there, imported.conflicts) == (2, {})
            staged: Any = await redis.keys("*:import:*")
            if staged:
                await redis.delete(*staged)
            assert await contents_of(redis) == kept
            kills += is_killed
    await proxy.close()
    assert kills >= 14


def _is_of_import(command: Command) -> bool:
    return command[0].upper() in (b"EVALSHA", b"HGETALL", b"GET", b"SET", b"SCRIPT", b"DEL")


async def test_an_export_that_is_cut_anywhere_goes_on(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Archive/Export, Archive/Format: what a killed export leaves is the beginning of an archive."""
    monkeypatch.setattr(exporter, "PART_BYTES", 1)
    names = [f"acme/s{number}" for number in range(4)]
    for name in names:
        await write_stream(redis, name)
    path = tmp_path / "all.gz"
    assert (await export(redis, path)).streams == 4
    whole = path.read_bytes()
    assert (await export(redis, path)).there == 4
    assert path.read_bytes() == whole, "there is nothing to add"
    heading = len(whole) - len(whole[1:].partition(b"\x1f\x8b\x08")[2]) - 3
    for size in range(heading, len(whole), 71):
        path.write_bytes(whole[:size])
        result = await export(redis, path)
        assert (result.streams + result.there, path.read_bytes() == whole) == (4, True), size
    await write_stream(redis, "acme/later")
    result = await export(redis, path)
    assert (result.streams, result.there) == (1, 4)
    await redis.delete("ms:{acme/later}:state", "ms:{acme/later}:log")
    imported = await bring_in(redis, path.read_bytes())
    assert (imported.streams, imported.there) == (1, 4)
    foreign = b"a file of somebody"
    path.write_bytes(foreign)
    with pytest.raises(ArchiveError) as refused:
        await export(redis, path)
    assert (refused.value.code, path.read_bytes()) == ("archive_unreadable", foreign)


async def test_both_programs_survive_sigkill(redis_url: str, redis: Redis, tmp_path: Path) -> None:
    """Archive/Export, Archive/Import: killed by SIGKILL after the first lines of progress, then run again."""
    long = ["".join(chr(33 + (7 * offset + number) % 90) for offset in range(9_000)) for number in range(80)]
    for number in range(4):
        await write_stream(redis, f"acme/s{number}", contents=long)
    kept, path = await contents_of(redis), tmp_path / "all.gz"
    await _killed(redis_url, 1, "export", path)
    result = await export(redis, path)
    assert (result.there >= 1, result.streams >= 1, result.there + result.streams) == (True, True, 4)
    await redis.flushall()
    await _killed(redis_url, 2, "import", path)
    imported = await bring_in(redis, path.read_bytes())
    assert (imported.there >= 1, imported.there + imported.streams, imported.conflicts) == (True, 4, {})
    await redis.delete(*await redis.keys("*:import:*"), "none")
    assert await contents_of(redis) == kept


async def _killed(redis_url: str, lines: int, command: str, path: Path) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "midstream.cli", command, str(path)),
        env=os.environ | {"MIDSTREAM_REDIS_URL": redis_url},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert program.stderr
    for _ in range(lines):
        assert b" of " in await asyncio.wait_for(program.stderr.readline(), 20)
    program.send_signal(signal.SIGKILL)
    assert await program.wait() == -signal.SIGKILL


async def test_what_does_not_belong_there_is_left_out_or_named(redis: Redis, tmp_path: Path) -> None:
    """Archive/Import, Archive/Secret, Archive/Checks."""
    log = Log(redis, "ms")
    await redis.set("ms:secret", "a" * 64)
    await write_stream(redis, "acme/kept", thread="t")
    await write_stream(redis, "acme/changed", outcome="failed")
    await write_stream(redis, "acme/deleted")
    await write_stream(redis, "acme/short", ttl_s=1)
    await write_stream(redis, "other/one")
    every, some = tmp_path / "every.gz", tmp_path / "some.gz"
    assert (await export(redis, every)).streams == 5
    assert (await export(redis, some, Selection(tenant="acme", outcomes=("failed",)))).streams == 1
    with pytest.raises(ArchiveError) as refused:
        await export(redis, every, Selection(tenant="acme"))
    assert refused.value.code == "other_archive"
    with pytest.raises(ArchiveError) as refused:
        await bring_in(redis, every.read_bytes(), tenant="acme")
    assert refused.value.code == "foreign_tenant"

    await log.delete("acme/deleted", 60)
    await log.delete("acme/changed", 1)
    await redis.delete("ms:{acme/changed}:state")
    await write_stream(redis, "acme/changed", contents=["something else"], outcome="failed")
    while await redis.exists("ms:{acme/short}:state"):
        await asyncio.sleep(0.02)
    before = await contents_of(redis)
    imported = await bring_in(redis, every.read_bytes())
    assert imported.conflicts == {"acme/changed": "another content", "acme/deleted": "deleted"}
    assert (imported.there, imported.expired) == (2, 1)
    assert await contents_of(redis) == before

    await redis.set("ms:secret", "b" * 64)
    for archive in (every, some):
        with pytest.raises(ArchiveError) as refused:
            await bring_in(redis, archive.read_bytes())
        assert refused.value.code == "other_secret"
    assert list((await bring_in(redis, some.read_bytes(), any_secret=True)).conflicts) == ["acme/changed"]


async def test_operators_find_what_was_imported_while_a_broker_runs(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """Archive/Import, Operate/Facts."""
    await write_stream(redis, "one")
    await write_stream(redis, "two", thread="t")
    await export(redis, tmp_path / "all.gz")
    await redis.flushall()
    async with inside.broker(settings) as client:
        assert (await client.get("/v1/operate/streams")).json()["data"] == []
        await bring_in(redis, (tmp_path / "all.gz").read_bytes())
        pages = [(await client.get(f"/v1/operate/streams{rest}")).json()["data"] for rest in ("", "?thread=t")]
        assert [{row["id"] for row in rows} for rows in pages] == [{"one", "two"}, {"two"}]
        assert (await client.get("/v1/operate/streams/default/one")).json()["why"].startswith("It completed")


async def test_a_user_of_redis_needs_a_brokers_rights_and_few_more(redis: Redis, tmp_path: Path) -> None:
    """docs/procedures/move.md, and both commands; Operate/Audit has a row of each."""
    (rights,) = re.findall(r"`(\+scan [^`]*)`", (ROOT / "docs/procedures/move.md").read_text())
    (of_brokers,) = re.findall("^user broker reset on BROKER_PASSWORD (.*)$", USERS.read_text(), re.MULTILINE)
    admin: Any = redis
    await admin.execute_command("ACL", "SETUSER", "archivist", "on", ">password", *f"{of_brokers} {rights}".split())
    pool = redis.connection_pool.connection_kwargs
    url = f"redis://archivist:password@127.0.0.1:{pool['port']}/0"
    await redis.set("ms:secret", "s" * 64)
    await write_stream(redis, "acme/one", user="ann")
    try:
        exported = await _command(url, "export", tmp_path / "all.gz", "--json")
        await redis.delete("ms:{acme/one}:state", "ms:{acme/one}:log")
        imported = await _command(url, "import", tmp_path / "all.gz", "--tenant", "acme", "--json")
    finally:
        await admin.execute_command("ACL", "DELUSER", "archivist")
    assert (exported.exit_code, imported.exit_code) == (0, 0), exported.output + imported.output
    assert json.loads(imported.stdout)["streams"] == 1
    acts = [(row.facts["act"], row.facts["result"]) for row in await Trail(redis, "ms").newest(9)]
    assert acts == [("export", "begun"), ("import", "begun")]
    url = url.replace("archivist:password@", "")
    for name in ("export", "import"):
        away = await _command(f"redis://127.0.0.1:{free_port()}/0", name, tmp_path / "all.gz")
        assert (away.exit_code, away.stderr.split(":")[0]) == (1, "error log_unavailable")
    absent = await _command(url, "import", tmp_path / "none.gz")
    assert absent.exit_code == 2
    with open(tmp_path / "all.gz", "rb") as file:  # noqa: ASYNC230, PTH123 - a small file
        fcntl.flock(file, fcntl.LOCK_SH)
        busy = await _command(url, "export", tmp_path / "all.gz")
    assert (busy.exit_code, "is in use by another export" in busy.stderr) == (2, True)
    await redis.delete("ms:{acme/one}:state", "ms:{acme/one}:log")
    before = await redis.info("memory")
    await redis.config_set("maxmemory", before["used_memory"] // 2)
    full = await _command(url, "import", tmp_path / "all.gz")
    await redis.config_set("maxmemory", before["maxmemory"])
    assert (full.exit_code, full.stderr.splitlines()[-1].split(":")[0]) == (1, "error log_full")
    assert not await redis.keys("ms:{*")
    (tmp_path / "none.gz").write_bytes(b"else")
    refused = await _command(url, "import", tmp_path / "none.gz")
    assert (refused.exit_code, refused.stderr.split(":")[0]) == (1, "error archive_unreadable")


async def _command(url: str, name: str, path: Path, *options: str) -> Result:
    """Run a command in a thread, because it has a loop of its own."""
    environment = {"MIDSTREAM_REDIS_URL": url}
    return await asyncio.to_thread(CliRunner().invoke, main, [name, str(path), *options], env=environment)
