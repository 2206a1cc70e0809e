"""The pages of docs/procedures: their commands, run as they stand there."""

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from midstream import file_watch
from midstream.access.key_file import add_key
from midstream.client.client import Midstream
from midstream.log.log import Log
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import inside
from tests.contract.access_calls import bearer
from tests.contract.archives import write_stream
from tests.contract.worker_runs import MODELS, client_alone, paid_by, read, start
from tests.provider.client import ProviderServer
from tests.servers import ValkeyProcess, free_port
from tests.system import System

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.stem: path.read_text() for path in (DOCS / "procedures").glob("*.md")}
BLOCKS = {
    (page, name): commands
    for page, text in PAGES.items()
    for name, commands in re.findall(r"<!-- ([\w-]+) -->\n```bash\n(.*?)```", text, re.DOTALL)
}
_, ANTHROPIC, _ = MODELS
SCRIPT = Script(words=5)

pytestmark = pytest.mark.skipif(not shutil.which("redis-cli"), reason="there is no redis-cli")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with the command `midstream`."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "midstream"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m midstream.cli "$@"\n')
    command.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


class Shell:
    """Runs blocks of one page in a folder.

    Attributes:
        environment: What the page's variables stand for.
    """

    def __init__(self, page: str, folder: Path, path: str, **environment: str) -> None:
        self._page = page
        self._folder = folder
        self.environment = os.environ | {"PATH": path} | environment

    async def run(self, block: str, then: str = "") -> str:
        """Run a block and return what it prints."""
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-euc", BLOCKS[self._page, block] + then),
            cwd=self._folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await asyncio.wait_for(shell.communicate(), 60)
        assert shell.returncode == 0, (block, printed)
        return printed.decode()


def test_every_block_of_every_page_is_run() -> None:
    of_pages = {page: [name for each, name in BLOCKS if each == page] for page in PAGES}
    assert of_pages == {
        "move": ["follow", "switch", "archive"],
        "upgrade": ["worker", "broker"],
        "keys": ["new-key", "old-key", "add-secret", "swap-secrets", "drop-secret", "new-password", "old-password"],
        "aof": ["look", "rewrite"],
    }
    assert all(text.count("```bash") == len(of_pages[page]) for page, text in PAGES.items())


def test_every_page_is_on_the_list_and_its_links_lead_somewhere() -> None:
    index = (DOCS / "procedures.md").read_text()
    assert set(re.findall(r"\]\(procedures/(\w+)\.md\)", index)) == set(PAGES)
    links = [link.partition("#")[0] for text in PAGES.values() for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert len(links) > 8
    assert [link for link in links if not (DOCS / "procedures" / link).exists()] == []


async def test_move_to_another_redis(tmp_path: Path, path: str, provider: ProviderServer) -> None:
    """What runs moves too, and an archive of it all goes on to a third one; nothing is paid again."""
    folders = [tmp_path / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    with ValkeyProcess(folders[0], {"repl-diskless-sync-delay": "0"}) as old, ValkeyProcess(folders[1]) as new:
        third = new.url.removesuffix("0") + "1"
        shell = Shell("move", tmp_path, path, OLD_PORT=str(old.port), NEW_PORT=str(new.port))
        shell.environment |= {"OLD_URL": new.url, "NEW_URL": third}
        before, after, last = (
            paid_by(provider.url, Settings(redis_url=SecretStr(url), port=0, lease_ms=1_000, requeue_ms=500))
            for url in (old.url, new.url, third)
        )
        async with client_alone(before) as client:
            async with inside.worker(before):
                ended = await start(client, SCRIPT, ANTHROPIC, idempotency_key="order-66")
                assert (await read(client, ended)).end == ("completed", None)
            await shell.run("follow")
            queued = await start(client, SCRIPT, ANTHROPIC)
        await shell.run("switch")
        async with inside.worker(after), client_alone(after) as client:
            assert (await read(client, queued)).end == ("completed", None)
            assert await start(client, SCRIPT, ANTHROPIC, idempotency_key="order-66") == ended
        assert "2 streams exported" in await shell.run("archive")
        async with client_alone(last) as client:
            for stream_id in (ended, queued):
                assert (await read(client, stream_id)).joined("text") == SCRIPT.text()
            assert await start(client, SCRIPT, ANTHROPIC, idempotency_key="order-66") == ended
        assert len(await provider.calls()) == 2


@pytest.mark.slow_start(8)
async def test_rolling_upgrade(redis_url: str, tmp_path: Path, path: str, provider: ProviderServer) -> None:
    """A stream runs through the change of worker and broker: whole, and paid once."""
    async with System(redis_url, tmp_path, provider.url, broker_drain_ms=200, drain_s=20) as system:
        await system.start()
        stream_id = await system.post(model=ANTHROPIC, input=directive(Script(words=150, delay_ms=20)))
        shell = Shell("upgrade", tmp_path, path, **system.environment | {"PATH": path})
        new_port = free_port()
        shell.environment |= {
            "OLD_WORKER": str(system.workers[0].pid),
            "OLD_BROKER": str(system.brokers[0].pid),
            "NEW_PORT": str(new_port),
        }
        pids: list[int] = []
        try:
            printed = await asyncio.gather(*(shell.run(block, "echo $!\n") for block in ("broker", "worker")))
            pids += map(int, printed)
            async with Midstream(f"http://127.0.0.1:{new_port}") as client:
                assert (await read(client, stream_id)).end == ("completed", None)
                after = await start(client, SCRIPT, ANTHROPIC)
                assert (await read(client, after)).joined("text") == SCRIPT.text()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
        assert [process.returncode for process in (*system.workers, *system.brokers)] == [0, -signal.SIGTERM]
    assert len(await provider.calls()) == 2


async def test_key_rotation(
    settings: Settings, redis: Redis, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)
    monkeypatch.setattr(file_watch, "SETTLE_S", 0.02)
    keys, secrets = tmp_path / "keys.toml", tmp_path / "token_secrets"
    old_key = add_key(keys, "backend-1", "acme", days=None)
    secrets.write_text("o" * 64)
    shell = Shell("keys", tmp_path, path, MIDSTREAM_KEYS_FILE=str(keys), SECRETS=str(secrets))

    def now() -> Settings:
        """Return the settings of a broker that is restarted."""
        changes = {"api_keys": SecretStr(""), "keys_file": keys, "token_secrets": SecretStr(secrets.read_text())}
        return settings.model_copy(update=changes)

    async def status(client: httpx2.AsyncClient, credential: str, path: str) -> int:
        return (await client.get(path, headers=bearer(credential))).status_code

    async def mint(client: httpx2.AsyncClient) -> str:
        answer = await client.post("/v1/tokens", json={"stream": "one"}, headers=bearer(new_key))
        return str(answer.json()["token"])

    await write_stream(redis, "acme/one")
    async with inside.broker(now()) as client:
        new_key = (await shell.run("new-key")).strip()
        while await status(client, new_key, "/v1/streams") != 200:
            await asyncio.sleep(0.02)
        assert await status(client, old_key, "/v1/streams") == 200
        await shell.run("old-key")
        while await status(client, old_key, "/v1/streams") != 401:
            await asyncio.sleep(0.02)
        assert await status(client, new_key, "/v1/streams") == 200
        tokens = [await mint(client)]
    expected = {"add-secret": [200], "swap-secrets": [200, 200], "drop-secret": [401, 401, 200]}
    for block, statuses in expected.items():
        await shell.run(block)
        async with inside.broker(now()) as client:
            assert [await status(client, token, "/v1/streams/one") for token in tokens] == statuses
            tokens.append(await mint(client))


async def test_passwords_of_redis(tmp_path: Path, path: str) -> None:
    with ValkeyProcess(tmp_path) as server:
        admin: Any = Redis.from_url(server.url)
        await admin.execute_command("ACL", "SETUSER", "broker", "on", ">before", "~*", "+@all")
        shell = Shell("keys", tmp_path, path, REDIS_PORT=str(server.port), OLD_PASSWORD="before", NEW_PASSWORD="after")

        async def opens(password: str) -> bool:
            async with Redis.from_url(server.url.replace("//", f"//broker:{password}@")) as client:
                try:
                    await client.get("key")
                except AuthenticationError:
                    return False
                return True

        for block, expected in {"new-password": (True, True), "old-password": (False, True)}.items():
            await shell.run(block)
            assert (await opens("before"), await opens("after")) == expected
        await admin.aclose()


async def test_growth_of_the_append_only_file(tmp_path: Path, path: str) -> None:
    with ValkeyProcess(tmp_path) as server:
        shell = Shell("aof", tmp_path, path, REDIS_PORT=str(server.port), REDIS_DIR=str(tmp_path))
        async with Redis.from_url(server.url) as redis:
            for number in range(20):
                await write_stream(redis, f"acme/s{number}", contents=["x" * 10_000] * 5)
            for number in range(1, 20):
                await Log(redis, "ms").delete(f"acme/s{number}", 1)
        large, small = [await _kilobytes(shell, before) for before in ("", "rewrite")]
        assert large > 1_000
        assert small < 200
        server.restart()
        async with Redis.from_url(server.url) as redis:
            state, entries = await Log(redis, "ms").read("acme/s0", 0, 10)
            assert state
            assert (state.outcome, len(entries)) == ("completed", 7)


async def _kilobytes(shell: Shell, first: str) -> int:
    """Return the size of the file, after a block was run."""
    if first:
        assert "aof_last_bgrewrite_status:ok" in await shell.run(first)
    printed = await shell.run("look")
    assert "aof_current_size" in printed
    return int(printed.splitlines()[-1].split()[0])
