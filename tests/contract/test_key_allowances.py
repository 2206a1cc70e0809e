"""What the key file allows a key and a tenant: models, and limits of its own (PROTOCOL: Access/Models, Limits/Own)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream import file_watch
from midstream.access.api_keys import ApiKeys, KeysFileError, digest
from midstream.access.key_file import add_key, revoke_key, rows_of
from midstream.cli.main import main
from midstream.settings import Settings
from tests import inside
from tests.contract.access_calls import bearer
from tests.contract.ws_talk import dial

pytestmark = pytest.mark.leaves("the slips of streams that no worker took", keys=["ms:queue"])

START: dict[str, Any] = {"model": "demo/count", "input": "one two three", "params": {"words": 5, "delay_ms": 0}}


def row(name: str, tenant: str = "acme", further: str = "") -> str:
    return f'[[keys]]\nname = "{name}"\nsha256 = "{digest(name)}"\ntenant = "{tenant}"\n{further}\n'


@asynccontextmanager
async def served(settings: Settings, path: Path, text: str, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    path.write_text(text)  # noqa: ASYNC240 - before anything is served
    closed = settings.model_copy(update={"api_keys": SecretStr(""), "keys_file": path} | changes)
    async with inside.broker(closed) as client:
        yield client


async def start(client: httpx2.AsyncClient, key: str, **changes: Any) -> httpx2.Response:
    return await client.post("/v1/streams", json=START | changes, headers=bearer(key))


async def cancel(client: httpx2.AsyncClient, key: str) -> None:
    for each in (await client.get("/v1/streams?status=queued", headers=bearer(key))).json()["data"]:
        await client.post(f"/v1/streams/{each['id']}/cancel", headers=bearer(key))


async def test_a_model_that_a_key_may_not_use_is_absent(settings: Settings, tmp_path: Path) -> None:
    """Access/Models: in each dialect, and in the lists of models."""
    text = row("all") + row("one", further='models = ["demo/count"]')
    async with served(settings, tmp_path / "keys.toml", text) as client:
        forbidden, missing = [await start(client, "one", model=model) for model in ("demo/story", "demo/absent")]
        assert forbidden.status_code == missing.status_code == 422
        assert forbidden.text.replace("demo/story", "demo/absent") == missing.text
        assert forbidden.json()["models"] == ["demo/count"]
        listed = (await client.get("/v1/models", headers=bearer("one"))).json()
        assert ([each["id"] for each in listed["data"]], listed["default"]) == (["demo/count"], "demo/count")
        assert len((await client.get("/v1/models", headers=bearer("all"))).json()["data"]) > 3
        of_anthropic = bearer("one") | {"anthropic-version": "2023-06-01"}
        assert (await client.get("/v1/models", headers=of_anthropic)).json()["first_id"] == "demo/count"
        assert (await client.get("/v1/models/demo/story", headers=bearer("one"))).status_code == 422
        assert (await client.get("/v1/models/demo/count", headers=bearer("one"))).status_code == 200
        for path, body in (
            ("/v1/responses", {"input": "hi"}),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
            ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}),
            ("/v1/responses/compact", {"input": [{"role": "user", "content": "hi"}]}),
            ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "hi"}]}),
        ):
            refused = await client.post(path, json=body | {"model": "demo/story"}, headers=bearer("one"))
            assert refused.status_code == 404, path
        async with dial(client, additional_headers=bearer("one")) as talk:
            await talk.say(type="start", request=START | {"model": "demo/story"})
            assert (await talk.hear("error"))["code"] == "unknown_model"
        turn = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
        chat = await client.post("/api/chat", json=turn | {"model": "demo/story"}, headers=bearer("one"))
        assert (chat.status_code, chat.headers["error-code"]) == (422, "unknown_model")
        without = await client.post("/v1/streams", json={"input": "hi"}, headers=bearer("one"))
        assert (without.status_code, without.json()["model"]) == (201, "demo/count")
        await cancel(client, "all")


async def test_a_model_has_to_fit_the_lists_of_key_and_tenant(settings: Settings, tmp_path: Path) -> None:
    """Access/Models."""
    tenants = '[[tenants]]\nname = "acme"\nmodels = ["demo/c*", "openai/*"]\n[[tenants]]\nname = "none"\nmodels = []\n'
    text = row("key", further='models = ["demo/*", "openai/gpt-x"]') + row("nothing", "none") + tenants
    openai = {"openai_api_key": SecretStr("sk-x")}
    async with served(settings, tmp_path / "keys.toml", text, **openai) as client:
        listed = (await client.get("/v1/models", headers=bearer("key"))).json()
        assert {each["id"] for each in listed["data"]} == {"demo/count", "openai/gpt-x"}
        assert listed["default"] in ("demo/count", "openai/gpt-x")
        for model, status in (("demo/story", 422), ("openai/gpt-y", 422), ("demo/count", 201), ("openai/gpt-x", 201)):
            assert (await start(client, "key", model=model)).status_code == status, model
        nothing = (await client.get("/v1/models", headers=bearer("nothing"))).json()
        assert (nothing["data"], nothing["default"]) == ([], None)
        of_anthropic = bearer("nothing") | {"anthropic-version": "2023-06-01"}
        assert (await client.get("/v1/models", headers=of_anthropic)).json()["first_id"] is None
        refused = await client.post("/v1/streams", json={"input": "hi"}, headers=bearer("nothing"))
        assert (refused.status_code, refused.json()["code"], refused.json()["models"]) == (422, "unknown_model", [])
        await cancel(client, "key")


async def test_a_key_has_limits_of_its_own_beside_its_tenants(
    settings: Settings, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits/Own, Limits/Generations, Limits/Starts: changed without a restart, and what is open stays."""
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)
    path = tmp_path / "keys.toml"
    text = row("two", further="limits = {key_generations = 2}") + row("other")
    tenant = '[[tenants]]\nname = "acme"\nlimits = {tenant_generations = 4, key_generations = 1}\n'
    async with served(settings, path, text + tenant, tenant_generations=1) as client:
        answers = [await start(client, "two") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert (answers[2].json()["limit"], answers[2].json()["of"]) == ("generations", "key")
        assert (await start(client, "other")).status_code == 201
        assert (await start(client, "other")).json()["of"] == "key", "the tenant's row bounds each of its keys"
        path.write_text(row("two") + row("other") + tenant.replace(", key_generations = 1", ""))
        async with asyncio.timeout(5):
            while (refused := await start(client, "two")).json().get("of") != "tenant":
                await asyncio.sleep(0.02)
        assert (refused.status_code, await redis.zcard("ms:live:acme")) == (429, 4)
        path.write_text(row("two") + row("other"))
        async with asyncio.timeout(5):
            while await redis.zcard("ms:live:acme"):
                await cancel(client, "two")
        async with asyncio.timeout(5):  # until those of the settings hold
            while [(await start(client, "two")).status_code for _ in range(2)] != [201, 429]:
                await cancel(client, "two")
        await cancel(client, "two")
        assert [key async for key in redis.scan_iter("ms:live:*")] == []


async def test_two_brokers_count_a_keys_starts_together(settings: Settings, tmp_path: Path) -> None:
    """Limits/Starts: 200 at once, with 5 allowed."""
    path = tmp_path / "keys.toml"
    path.write_text(row("five", further="limits = {key_starts_per_minute = 5}"))
    closed = settings.model_copy(
        update={"api_keys": SecretStr(""), "keys_file": path, "starts_burst_s": 60.0, "tenant_generations": 0}
    )
    async with inside.broker(closed) as one, inside.broker(closed) as two:
        answers = await asyncio.gather(*(start((one, two)[number % 2], "five") for number in range(200)))
        assert sorted(answer.status_code for answer in answers)[:6] == [201] * 5 + [429]
        assert {answer.json()["of"] for answer in answers if answer.status_code == 429} == {"key"}
        await cancel(one, "five")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (row("a", further='models = "demo/*"'), "models"),
        (row("a", further='models = ["*/x"]'), "models"),
        (row("a", further="limits = 5"), "limits"),
        (row("a", further="limits = {tenant_tails = 5}"), "no limit is called tenant_tails"),
        (row("a", further="limits = {key_generations = -1}"), "greater than or equal to 0"),
        (row("a", further="limits = {key_generations = true}"), "key_generations"),
        (row("a", further="limits = {key_generations = 1.5}"), "key_generations"),
        (row("a", further="limits = {key_generations = 99999999999999999999999}"), "less than or equal"),
        (row("a", further="limits = {key_starts_per_minute = 6000001}"), "less than or equal"),
        ('[[tenants]]\nname = "a/b"\n', "name"),
        ('[[tenants]]\nname = "a"\n[[tenants]]\nname = "a"\n', "no other tenant"),
        ('[[tenants]]\nname = "a"\nsecret = 1\n', "no field is called secret"),
        ("tenants = [1]\n", "not a table"),
        ("tenants = 1\n", "nothing else"),
    ],
)
def test_what_does_not_fit_makes_a_key_file_unusable(text: str, complaint: str) -> None:
    """Limits/Own, Access/Keys."""
    with pytest.raises(KeysFileError, match=complaint):
        ApiKeys.from_toml(text)


def test_the_command_writes_models_and_limits_and_keeps_the_tenants(tmp_path: Path) -> None:
    """Access/Models, Limits/Own."""
    path = tmp_path / "keys.toml"
    path.write_text('[[tenants]]\nname = "acme"\nlimits = {tenant_tails = 7}\nmodels = ["demo/*"]\n')
    words = ["keys", "new", "one", "--tenant", "acme", "--model", "demo/count", "--model", "demo/s*"]
    words += ["--file", str(path)]
    made = CliRunner().invoke(main, [*words, "--limit", "key_generations=5"], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    (kept,) = rows_of(path)
    assert (kept["models"], kept["limits"]) == (["demo/count", "demo/s*"], {"key_generations": 5})
    listed = CliRunner().invoke(main, ["keys", "list", "--file", str(path)]).output
    assert "demo/count,demo/s*  key_generations=5" in listed
    words[2] = "two"
    refused = CliRunner().invoke(main, [*words, "--limit", "tenant_tails=5"])
    assert "no limit is called tenant_tails" in refused.output
    assert CliRunner().invoke(main, [*words, "--limit", "key_generations=-5"]).exit_code == 2
    add_key(path, "two", "acme", days=None)
    revoke_key(path, "one")
    assert "tenant_tails = 7" in path.read_text()
