"""What running brokers do when Redis has lost the installation's secret, or has another one (PROTOCOL: Access)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream import file_watch
from midstream.access.key_file import add_key
from midstream.service import shared_secret
from midstream.settings import Settings
from tests import inside
from tests.contract.access_calls import START, bearer

pytestmark = pytest.mark.leaves("the slips of streams that no worker took", keys=["ms:queue"])

KEYED = bearer("admin") | {"Idempotency-Key": "same"}


@pytest.fixture
def closed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(shared_secret, "LOOK_S", 0.02)
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)
    return settings.model_copy(update={"api_keys": SecretStr("admin:acme")})


async def start(client: httpx2.AsyncClient, headers: dict[str, str] = KEYED) -> str:
    stream_id: str = (await client.post("/v1/streams", json=START, headers=headers)).json()["id"]
    return stream_id


async def cancel(client: httpx2.AsyncClient, stream_id: str) -> None:
    await client.post(f"/v1/streams/{stream_id}/cancel", headers=bearer("admin"))


async def token_of(client: httpx2.AsyncClient, key: str = "admin", **request: Any) -> str:
    answer = await client.post("/v1/tokens", json={"thread": "t"} | request, headers=bearer(key))
    token: str = answer.json()["token"]
    return token


async def status(client: httpx2.AsyncClient, token: str) -> int:
    """Return 404 where a token of another thread is valid, 401 where it is not."""
    return (await client.get("/v1/streams/none", headers=bearer(token))).status_code


async def test_a_running_broker_gives_the_secret_back_that_redis_lost(closed: Settings, redis: Redis) -> None:
    """Access/Secret: FLUSHALL."""
    async with inside.broker(closed) as one, inside.broker(closed) as two:
        before = await start(one)
        await cancel(one, before)
        token, secret = await token_of(one), await redis.get("ms:secret")
        await redis.flushall()
        async with asyncio.timeout(5):
            while await redis.get("ms:secret") != secret:
                await asyncio.sleep(0.01)
        assert await status(two, token) == 404
        assert await start(two) == before
        async with inside.broker(closed) as restarted:
            assert await start(restarted) == before
            assert await status(restarted, token) == 404
        await cancel(one, before)


async def test_brokers_with_different_secrets_agree_again(closed: Settings, redis: Redis) -> None:
    """Access/Secret: a broker was started between FLUSHALL and the next look of the other one."""
    async with inside.broker(closed) as old:
        old_token = await token_of(old)
        await redis.set("ms:secret", "another secret, of thirty-two bytes or more")
        async with inside.broker(closed) as new:
            new_token = await token_of(new)
            async with asyncio.timeout(5):
                while await status(old, new_token) == 401:
                    await asyncio.sleep(0.01)
            assert await status(old, old_token) == 404, "tokens of the secret before stay valid where they were"
            ids = {await start(old), await start(new)}
            assert len(ids) == 1
            assert await status(new, await token_of(old)) == 404
            await cancel(old, *ids)


async def test_a_token_is_void_with_the_key_that_made_it(
    closed: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Access/Read tokens: the token, the session that was made from it, and what is read by it."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    revocable = add_key(path, "one", "acme", days=None)
    add_key(path, "two", "acme", days=None)
    rows = path.read_text().split("\n\n")
    async with inside.broker(closed.model_copy(update={"keys_file": path})) as client:
        stream_id = await start(client, bearer(revocable))
        mine, others = await token_of(client, revocable, stream=stream_id, thread=None), await token_of(client)
        assert revocable.split("_")[1] not in mine, "a page learns nothing of the key's name"
        assert await status(client, mine) == await status(client, others) == 404
        async with tailing(client, stream_id, mine) as lines:
            path.write_text(rows[1])
            text = "\n".join([line async for line in lines])
        assert "credential_revoked" in text
        assert await status(client, mine) == 401
        assert await status(client, others) == 404
        path.write_text(rows[0].replace('"acme"', '"other"') + "\n\n" + rows[1])
        async with asyncio.timeout(5):
            while (await client.get("/v1/streams", headers=bearer(revocable))).status_code != 200:
                await asyncio.sleep(0.01)
        assert await status(client, mine) == 401, "the key is another tenant's now"
        path.write_text(rows[0] + '\nscopes = ["start"]\n\n' + rows[1])
        async with asyncio.timeout(5):
            while (await client.get("/v1/streams", headers=bearer(revocable))).status_code != 403:
                await asyncio.sleep(0.01)
        assert await status(client, mine) == 401, "the key may not read any more"
        path.write_text("\n\n".join(rows))
        async with asyncio.timeout(5):
            while await status(client, mine) != 404:
                await asyncio.sleep(0.01)
        await cancel(client, stream_id)


@asynccontextmanager
async def tailing(client: httpx2.AsyncClient, stream_id: str, token: str) -> AsyncIterator[AsyncIterator[str]]:
    async with client.stream("GET", f"/v1/streams/{stream_id}/events", headers=bearer(token)) as answer:
        assert answer.status_code == 200
        yield answer.aiter_lines()
