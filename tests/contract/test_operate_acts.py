"""What an operator does about streams (PROTOCOL: Operate)."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from redis.asyncio import Redis

from midstream.access.api_keys import digest
from midstream.log.log import Log
from midstream.log.values import NewStream
from midstream.settings import Settings
from tests import inside

ROW = '[[keys]]\nname = "{0}"\nsha256 = "{1}"\ntenant = "{2}"\n'
ACTS = [("POST", "/cancel")]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def closed(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a key of the tenant `acme`, and one of an operator of another tenant."""
    path = tmp_path / "keys.toml"
    operator = ROW.format("ops", digest("ops"), "admin") + 'scopes = ["operate"]\nuser = "olga"\n'
    path.write_text(ROW.format("ada", digest("ada"), "acme") + operator)
    return settings.model_copy(update={"keys_file": path, "lease_ms": 60_000})


@pytest.fixture
async def client(closed: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a broker, as the operator."""
    async with inside.broker(closed) as asking:
        asking.headers |= bearer("ops")
        yield asking


@pytest.fixture
def log(redis: Redis) -> Log:
    return Log(redis, "ms")


async def create(log: Log, stream_id: str, tenant: str = "acme", policy: str = "interrupt") -> str:
    """Create a queued stream without a slip; return its name."""
    name = stream_id if tenant == "default" else f"{tenant}/{stream_id}"
    new = NewStream(digest="d", tenant=tenant, model="demo/count", ttl_s=60, request=b'{"input":"hi"}', policy=policy)
    await log.create(name, new, look_in_ms=60_000)
    return name


async def test_an_operator_cancels_a_stream_of_any_tenant(client: httpx2.AsyncClient, log: Log) -> None:
    """Operate/Acts, Operate/Scope."""
    await create(log, "s1")
    done = await client.post("/v1/operate/streams/acme/s1/cancel")
    assert (done.status_code, done.json()["tenant"], done.json()["outcome"]) == (202, "acme", "cancelled")
    again = await client.post("/v1/operate/streams/acme/s1/cancel")
    assert (again.status_code, again.json()) == (202, done.json())


async def test_nobody_else_acts_on_anything(client: httpx2.AsyncClient, log: Log) -> None:
    """Operate/Scope: the tenant's own key as well is refused, whether there is such a stream or not."""
    name = await create(log, "s1")
    for method, path in ACTS:
        for stream_id in ("s1", "absent"):
            url = f"/v1/operate/streams/acme/{stream_id}{path}"
            refused = await client.request(method, url, headers=bearer("ada"))
            assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
            assert (await client.request(method, url, headers=bearer("unknown"))).status_code == 401
    state = await log.state(name)
    assert state is not None
    assert state.status == "queued"
    await client.post("/v1/operate/streams/acme/s1/cancel")


@pytest.mark.parametrize("path", ["acme/absent", "nobody/s1", "a%7Bb%7D/s1", "a%0Ab/s1", "default/acme%2Fs1"])
async def test_what_is_not_there_is_404(client: httpx2.AsyncClient, path: str) -> None:
    """Operate/Acts."""
    for method, act in ACTS:
        answer = await client.request(method, f"/v1/operate/streams/{path}{act}")
        assert answer.status_code == 404


async def test_an_open_brokers_operator_reaches_no_tenants_streams(settings: Settings, log: Log) -> None:
    """Operate/Scope."""
    theirs, own = await create(log, "s1"), await create(log, "s1", "default")
    async with inside.broker(settings) as client:
        for tenant, status in (("acme", 404), ("default", 202)):
            answer = await client.post(f"/v1/operate/streams/{tenant}/s1/cancel")
            assert answer.status_code == status
    states = await log.states([theirs, own])
    assert [state and state.status for state in states] == ["queued", "ended"]
    await log.delete(theirs, 1)
