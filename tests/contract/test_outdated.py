"""What was live in a log that is an old copy ends, and is not paid again (PROTOCOL: Recovery/Outdated)."""

from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.client.client import Midstream
from midstream.lifecycle.slips import Slips
from midstream.log.values import Notes
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import inside
from tests.contract.lost_workers import claim_and_vanish
from tests.contract.worker_runs import MODELS, client_alone, paid_by, read, start
from tests.provider.client import ProviderServer

_, ANTHROPIC, _ = MODELS
AGE_MS = 200_000


@pytest.fixture
def settings(settings: Settings, provider: ProviderServer) -> Settings:
    return paid_by(provider.url, settings, queue_timeout_s=3_600)


@pytest.fixture
async def stream_ids(settings: Settings, redis: Redis) -> list[str]:
    """Streams as they stand in a copy that is older than `AGE_MS`: one was queued, one was lost by its worker."""
    async with client_alone(settings) as client:
        ids = [await start(client, Script(words=5), ANTHROPIC, on_worker_loss="restart") for _ in range(2)]
    await claim_and_vanish(redis, ids[1], notes=Notes(intent=1, paid=1))
    pipe: Any = redis.pipeline()
    for stream_id in ids:
        pipe.zincrby("ms:due", -AGE_MS, stream_id)
        for name in ("created_ms", "queued_ms", "started_ms", "lease_until_ms"):
            pipe.hincrby(f"ms:{{{stream_id}}}:state", name, -AGE_MS)
    await pipe.execute()
    return ids


async def ends(client: Midstream, stream_ids: list[str]) -> list[tuple[str, str | None]]:
    return [(await read(client, stream_id)).end for stream_id in stream_ids]


async def test_what_was_live_in_an_old_copy_ends_and_is_not_paid(
    settings: Settings, provider: ProviderServer, stream_ids: list[str]
) -> None:
    async with inside.worker(settings), client_alone(settings) as client:
        assert await ends(client, stream_ids) == [("interrupted", "outdated")] * 2
    assert await provider.calls() == []


async def test_a_worker_that_is_quicker_than_the_reapers_does_not_run_it(
    settings: Settings, provider: ProviderServer, redis: Redis, stream_ids: list[str]
) -> None:
    await Slips(redis, "ms", 60).write(stream_ids[0], 0)  # before the worker: its first poll takes it
    async with inside.worker(settings), client_alone(settings) as client:
        assert await ends(client, stream_ids[:1]) == [("interrupted", "outdated")]
        assert await ends(client, stream_ids[1:]) == [("interrupted", "outdated")]
    assert await provider.calls() == []


async def test_it_is_run_where_the_setting_says_so(
    settings: Settings, provider: ProviderServer, stream_ids: list[str]
) -> None:
    patient = settings.model_copy(update={"outdated_after_s": float("inf")})
    async with inside.worker(patient), client_alone(patient) as client:
        assert await ends(client, stream_ids) == [("completed", None)] * 2
    assert len(await provider.calls()) == 2
