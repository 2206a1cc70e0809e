"""PROTOCOL: Operation/Secrets, Operation/Provider keys: secrets come from files, and each process has its own alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.access.secret_files import MOST_BYTES, SecretFileError
from midstream.cli.main import main
from midstream.log.connect import connect
from midstream.settings import Settings, secret_variables
from midstream.testing.provider.script import Script
from tests import inside
from tests.contract.worker_runs import client_of, paid_by, read, start
from tests.provider.client import ProviderServer
from tests.servers import ValkeyProcess

VALUES = {
    "MIDSTREAM_API_KEYS": "hidden-key:acme",
    "MIDSTREAM_REDIS_URL": "redis://me:hidden@127.0.0.1:1/0",
    "MIDSTREAM_QUEUE_REDIS_URL": "redis://me:hidden@127.0.0.1:1/0",
    "MIDSTREAM_TOKEN_SECRETS": "hidden-" * 5,
}
ABSENT = (None, "")


def secret_of(variable: str) -> str:
    """Return what the settings have for a variable."""
    name = variable.removeprefix("MIDSTREAM_").lower()
    value = getattr(Settings(), name)
    return value.get_secret_value() if isinstance(value, SecretStr) else ""


@pytest.mark.parametrize("variable", secret_variables())
def test_a_secret_may_come_from_a_file(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operation/Secrets."""
    value = VALUES.get(variable, "hidden")
    (tmp_path / "secret").write_text(f"{value}\n")
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "secret"))
    assert secret_of(variable) == value
    config = CliRunner().invoke(main, ["config"])
    assert (config.exit_code, config.stderr) == (0, "")
    assert "hidden" not in config.output

    monkeypatch.setenv(variable, value)
    done = CliRunner().invoke(main, ["config"])
    assert done.exit_code == 2
    assert f"{variable} and {variable}_FILE are both set" in done.stderr
    assert "hidden" not in done.output


def test_the_secrets_of_the_docs_are_all_secrets() -> None:
    ours = {"API_KEYS", "TOKEN_SECRETS", "REDIS_URL", "REDIS_PASSWORD"}
    ours |= {"QUEUE_REDIS_URL", "QUEUE_REDIS_PASSWORD"}
    keys = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"}
    assert {f"MIDSTREAM_{name}" for name in ours} | keys == {*secret_variables()}


def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operation/Secrets."""
    path = tmp_path / "secret"
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(path))
    words = (sys.executable, "-P", "-m", "midstream_worker")
    worker = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    assert worker.returncode == 2
    assert worker.stderr == f"OPENAI_API_KEY_FILE: {path} cannot be read: No such file or directory\n"
    for content, why in ((b"\xff", "is not text in UTF-8"), (b"x" * (MOST_BYTES + 1), "is larger than")):
        path.write_bytes(content)
        with pytest.raises(SecretFileError, match=f"OPENAI_API_KEY_FILE: .*{why}"):
            Settings()
    path.write_text(" \n")
    assert Settings().openai_api_key is None
    monkeypatch.setenv("OPENAI_API_KEYS_FILE", "x")
    monkeypatch.setenv("MIDSTREAM_API_KEY_FILE", "x")
    assert "did you mean MIDSTREAM_API_KEYS_FILE?" in CliRunner().invoke(main, ["config"]).stderr


def test_a_compatible_providers_key_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operation/Secrets."""
    (tmp_path / "secret").write_text("hidden\n")
    monkeypatch.setenv("MY_GROQ_API_KEY_FILE", str(tmp_path / "secret"))
    providers = {"my-groq": "http://127.0.0.1:1/v1"}
    assert Settings(providers=providers).key_of("my-groq") == "hidden"
    monkeypatch.setenv("MY_GROQ_API_KEY", "other")
    with pytest.raises(ValueError, match="MY_GROQ_API_KEY and MY_GROQ_API_KEY_FILE are both set"):
        Settings(providers=providers)


async def test_the_password_of_redis_may_come_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operation/Secrets."""
    password = "p@ss:/#?%20 word"
    (tmp_path / "secret").write_text(password)
    monkeypatch.setenv("MIDSTREAM_REDIS_PASSWORD_FILE", str(tmp_path / "secret"))
    with ValkeyProcess(tmp_path) as server:
        admin: Redis = Redis.from_url(server.url)
        await admin.acl_setuser("me", enabled=True, passwords=[f"+{password}"], categories=["+@all"], keys="*")
        await admin.config_set("requirepass", password)
        await admin.aclose()
        for url in (server.url, server.url.replace("//", "//me@"), server.url.replace("//", "//me:@")):
            settings = Settings(redis_url=SecretStr(url))
            client = connect(settings.redis_address, 5, 1)
            assert await client.ping()
            await client.aclose(close_connection_pool=True)
        with pytest.raises(ValueError, match="both hold a password"):
            Settings(redis_url=SecretStr(server.url.replace("//", "//me:other@")))


async def test_a_broker_offers_what_only_the_workers_have_keys_for(
    settings: Settings, provider: ProviderServer
) -> None:
    """Operation/Provider keys."""
    with_keys = paid_by(provider.url, settings)
    bare = settings.model_copy(update={"available": "openai,anthropic", "openai_base_url": f"{provider.url}/v1"})
    script = Script(words=3)
    async with client_of(bare, with_keys) as client:
        for model in ("openai/gpt-test", "anthropic/claude-test"):
            got = await read(client, await start(client, script, model))
            assert (got.end, got.joined("text")) == (("completed", None), script.text())
    async with inside.broker(bare) as http:
        listed = [row["id"] for row in (await http.get("/v1/models")).json()["data"]]
        assert {model.partition("/")[0] for model in listed} >= {"openai", "anthropic"}
        counted = await http.post("/v1/responses/input_tokens", json={"model": "openai/gpt-test", "input": "x"})
        assert (counted.status_code, counted.json()["error"]["code"]) == (400, "missing_provider_key")
    async with inside.broker(bare.model_copy(update={"available": "anthropic"})) as http:
        refused = await http.post("/v1/streams", json={"model": "openai/gpt-test", "input": "x"})
        assert (refused.status_code, refused.json()["code"]) == (422, "missing_provider_key")


async def test_a_worker_without_the_key_fails_the_stream_by_name(settings: Settings, provider: ProviderServer) -> None:
    """Operation/Provider keys."""
    bare = settings.model_copy(update={"available": "openai", "openai_base_url": f"{provider.url}/v1"})
    async with client_of(bare) as client:
        got = await read(client, await start(client, Script(words=3), "openai/gpt-test"))
    assert got.end == ("failed", "unknown_model")
    assert await provider.requests() == []
