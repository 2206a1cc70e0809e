"""Key files as they are found on real disks, and written by several at once (PROTOCOL: Access/Keys)."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from midstream import file_watch
from midstream.access.allowance import OF_KEYS
from midstream.access.api_keys import ApiKeys, KeysFileError, digest
from midstream.access.key_file import add_key, revoke_key, rows_of
from midstream.cli.key_commands import keys
from midstream.settings import Settings
from tests import fork_server
from tests.contract.access_calls import bearer, served

ROW = '[[keys]]\nname = "{0}"\nsha256 = "{1}"\ntenant = "acme"\n'
USELESS = (b"\xff\xfe", b"keys = " + b"[" * 5_000, b"[[keys]]\nname = 1\n", b"\0")


async def status(client: httpx2.AsyncClient, key: str) -> int:
    return (await client.get("/v1/streams", headers=bearer(key))).status_code


async def test_a_key_file_that_changes_is_read_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Access/Keys."""
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)
    path = tmp_path / "keys.toml"
    path.write_text(ROW.format("one", digest("one")))
    async with served(settings, api_keys=SecretStr(""), keys_file=path) as client:
        assert (await status(client, "one"), await status(client, "two")) == (200, 401)
        path.write_text("this is no TOML")
        replacement = tmp_path / "new.toml"
        replacement.write_text(ROW.format("two", digest("two")))
        await asyncio.sleep(0.1)  # long enough for the broken file to be looked at, which must change nothing
        assert await status(client, "one") == 200
        replacement.rename(path)
        async with asyncio.timeout(5):
            while await status(client, "two") != 200:
                await asyncio.sleep(0.01)
        assert await status(client, "one") == 401


@pytest.mark.parametrize("content", USELESS)
async def test_a_useless_key_file_does_not_end_the_reading_of_later_ones(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """Access/Keys."""
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)
    path = tmp_path / "keys.toml"
    path.write_text(ROW.format("one", digest("one")))
    async with served(settings, api_keys=SecretStr(""), keys_file=path) as client:
        assert await status(client, "one") == 200
        path.write_bytes(content)
        await asyncio.sleep(0.5)  # long enough for the broken file to be looked at, which must change nothing
        assert await status(client, "one") == 200
        path.write_text("")  # every key is revoked
        async with asyncio.timeout(5):
            while await status(client, "one") != 401:
                await asyncio.sleep(0.01)


async def test_a_key_file_is_not_read_while_it_is_written(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Access/Keys: an editor that empties the file first would else revoke every key, and cut every tail."""
    monkeypatch.setattr(file_watch, "LOOK_S", 0.001)
    path = tmp_path / "keys.toml"
    rows = [ROW.format(name, digest(name)) for name in ("one", "two")]
    path.write_text("".join(rows))
    async with served(settings, api_keys=SecretStr(""), keys_file=path) as client:
        for _ in range(20):
            for text in ("", rows[0]):
                path.write_text(text)
                await asyncio.sleep(0.01)
                assert await status(client, "two") == 200
        path.write_text(rows[1])
        async with asyncio.timeout(5):
            while await status(client, "one") != 401:
                await asyncio.sleep(0.01)
        assert await status(client, "two") == 200


@pytest.mark.parametrize("content", [*USELESS, None])
async def test_a_useless_key_file_stops_the_start_with_a_sentence(
    tmp_path: Path, content: bytes | None, redis_url: str
) -> None:
    """Access/Keys."""
    path, log = tmp_path / "keys.toml", tmp_path / "broker.log"
    if content is not None:
        path.write_bytes(content)
    environment = {**os.environ, "MIDSTREAM_KEYS_FILE": str(path), "MIDSTREAM_REDIS_URL": redis_url}
    words = ["midstream", "broker", "--port", "0"]
    broker = await fork_server.shared().fork(log, environment, words, tmp_path)
    assert await asyncio.wait_for(broker.wait(), 30) != 0
    printed = log.read_text()
    assert "Traceback" not in printed
    assert "MIDSTREAM_KEYS_FILE: " in printed


def test_keys_that_are_made_at_once_are_all_in_the_file(tmp_path: Path) -> None:
    """Access/Keys."""
    path = tmp_path / "keys.toml"
    with ThreadPoolExecutor(8) as makers:
        secrets = list(makers.map(lambda number: add_key(path, f"k{number}", "acme", days=None), range(40)))
    assert {row["sha256"] for row in rows_of(path)} == {digest(secret) for secret in secrets}
    assert [file.name for file in tmp_path.iterdir()] == ["keys.toml"]


def test_a_key_is_revoked_in_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    """Access/Keys."""
    path, link = tmp_path / "real.toml", tmp_path / "link.toml"
    add_key(path, "one", "acme", days=None)
    link.symlink_to(path)
    revoke_key(link, "one")
    assert link.is_symlink()
    assert rows_of(path) == []


def test_a_key_file_keeps_the_rights_that_it_has(tmp_path: Path) -> None:
    """Access/Keys."""
    path = tmp_path / "keys.toml"
    add_key(path, "one", "acme", days=None)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)  # a broker of another user reads it by its group
    revoke_key(path, "one")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_useless_key_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    for content in USELESS:
        path.write_bytes(content)
        with pytest.raises(KeysFileError):
            add_key(path, "one", "acme", days=None)
        assert path.read_bytes() == content


def test_a_key_of_the_settings_is_no_key_of_the_file() -> None:
    """Access/Keys, Access/Ending."""
    of_file = ApiKeys.from_toml(ROW.format("setting", digest("one"))).grant("one")
    assert of_file is not None
    assert not ApiKeys.from_pairs({"two": "acme"}).holds(of_file)


def test_a_folder_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeysFileError, match="cannot be changed"):
        add_key(tmp_path / "none" / "keys.toml", "one", "acme", days=None)


def test_the_help_names_every_limit_of_a_key() -> None:
    words = CliRunner().invoke(keys, ["new", "--help"]).output.split()
    assert {word.strip(",.") for word in words} >= OF_KEYS
