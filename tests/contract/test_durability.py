"""What is said at start-up about the log's server is true of each kind of server."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.log.durability import examine, replicas_to_wait_for
from midstream.log.errors import UnfitServer
from tests.servers import SERVER_KINDS, ValkeyProcess


@pytest.fixture(params=SERVER_KINDS)
async def admin(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    with ValkeyProcess(tmp_path, binary=SERVER_KINDS[request.param]) as server:
        redis: Any = Redis.from_url(server.url)
        yield redis
        await redis.aclose()


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("appendfsync", "always", ""),
        ("appendfsync", "everysec", "about the last second"),
        ("appendfsync", "no", "appendfsync is `no`"),
        ("appendonly", "no", "append-only file is off"),
        ("maxmemory-policy", "allkeys-lru", "evicts live streams"),
    ],
)
async def test_what_the_server_would_lose_is_said(admin: Any, name: str, value: str, word: str) -> None:
    await admin.config_set("appendfsync", "always")
    await admin.config_set(name, value)
    sentences = await examine(admin)
    assert len(sentences) == bool(word), sentences
    assert word in "".join(sentences)


async def test_what_the_server_does_not_tell_is_not_taken_for_safe(admin: Any) -> None:
    await admin.execute_command("ACL", "SETUSER", "default", "-config")
    (sentence,) = await examine(admin)
    assert "does not tell" in sentence


async def test_a_user_who_may_not_wait_for_replicas_makes_no_durable_promise(admin: Any) -> None:
    """Intent/Durable, Log/Failover."""
    assert await replicas_to_wait_for(admin, must_wait=True) == 0
    await admin.config_set("min-replicas-to-write", 2)
    assert await replicas_to_wait_for(admin, must_wait=True) == 2
    assert "bounds that to about 10 s" in "".join(await examine(admin))
    await admin.execute_command("ACL", "SETUSER", "default", "-wait")
    assert await replicas_to_wait_for(admin, must_wait=False) == 0
    with pytest.raises(UnfitServer, match="may not run WAIT"):
        await replicas_to_wait_for(admin, must_wait=True)
