"""How long streams are kept after their ends, and how that is changed (PROTOCOL: Retention)."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.access.api_keys import digest
from midstream.log.entries import END, OUTCOMES, Entry, encode
from midstream.log.errors import StreamAbsent
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.values import Ending
from midstream.settings import Settings
from tests import inside
from tests.contract.access_calls import bearer
from tests.contract.new_streams import create

START: dict[str, Any] = {"model": "demo/count", "input": "one", "params": {"words": 1}}
KEY = '[[keys]]\nname = "{0}"\nsha256 = "{1}"\ntenant = "{0}"\n'
TENANT = '[[tenants]]\nname = "own"\nlimits = {retention_s = 500, failed_retention_s = 50}\n'


async def end(log: Log, name: str, outcome: str) -> None:
    claim = await log.claim(name, "me", 60_000)
    ending = Ending([encode(Entry(END, {"outcome": outcome}))], outcome)
    await log.seal(name, claim.fence, claim.state.tail, ending)


@pytest.mark.leaves("slips that no worker took", keys=["ms:queue"])
async def test_a_tenant_and_an_outcome_have_their_own_retention(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """Retention/Outcome, Limits/Own."""
    path = tmp_path / "keys.toml"
    path.write_text("".join(KEY.format(name, digest(name)) for name in ("own", "other")) + TENANT)
    changes = {"api_keys": SecretStr(""), "keys_file": path, "retention_s": 1_000, "cancelled_retention_s": 100}
    log = Log(redis, "ms")
    kept_s: dict[tuple[str, str, int | None], int] = {}
    async with inside.broker(settings.model_copy(update=changes)) as client:
        for tenant, ttl_s in (("own", None), ("other", None), ("own", 7)):
            for outcome in OUTCOMES:
                body = START | ({"ttl_s": ttl_s} if ttl_s else {})
                started = await client.post("/v1/streams", json=body, headers=bearer(tenant))
                name = f"{tenant}/{started.json()['id']}"
                await end(log, name, outcome)
                state = await log.state(name)
                assert state is not None
                for key in (log.keys.state(name), log.keys.log(name)):
                    assert 0 <= state.ttl_s * 1_000 - await redis.pttl(key) < 5_000
                kept_s[tenant, outcome, ttl_s] = state.ttl_s
    of_start = {("own", outcome, 7): 7 for outcome in OUTCOMES}
    of_tenant = {("own", outcome, None): 50 if outcome == "failed" else 500 for outcome in OUTCOMES}
    of_settings = {("other", outcome, None): 100 if outcome == "cancelled" else 1_000 for outcome in OUTCOMES}
    assert kept_s == of_start | of_tenant | of_settings


async def test_the_retention_of_a_stream_can_be_changed(redis: Redis) -> None:
    """Retention/Change, Limits/Stored."""
    log = Log(redis, "ms")
    ended, running = (f"acme/{new_id()}" for _ in range(2))
    for name in (ended, running):
        await create(log, name, tenant="acme")
    await end(log, ended, "completed")
    state = await log.state(ended)
    assert state is not None
    await log.retain(running, 7_200)
    await end(log, running, "failed")
    await log.retain(ended, 3_600, ["acme"])
    await log.retain(ended, 3_600)
    for name, ttl_s in ((ended, 3_600), (running, 7_200)):
        for key in (log.keys.state(name), log.keys.log(name)):
            assert 0 <= ttl_s * 1_000 - await redis.pttl(key) < 5_000
    sums: dict[bytes, bytes] = await redis.hgetall("ms:stored:acme")  # type: ignore[misc]
    stored = {int(until_ms): int(size) for until_ms, size in sums.items()}
    assert len(stored) == 2
    assert stored[min(stored)] == state.stored_bytes
    assert 3_600_000 <= min(stored) - state.ended_ms <= 3_600_000 * 9 / 8
    await log.retain(ended, 1)
    await redis.pexpire(log.keys.state(ended), 0)
    with pytest.raises(StreamAbsent):
        await log.retain(ended, 60)
    assert await redis.zcard("ms:due") == 0
