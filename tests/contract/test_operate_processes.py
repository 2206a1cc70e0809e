"""What an operator does where brokers end: killed in the middle of an act, and drained."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from midstream.lifecycle.slips import Slips
from midstream.log.log import Log
from midstream.log.values import NewStream
from tests.system import System, stop

MANY = 400


@pytest.fixture
async def system(redis_url: str, tmp_path: Path) -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, drain_s=0, broker_drain_ms=100, requeue_ms=60_000) as system:
        yield system


async def test_a_broker_killed_in_the_middle_of_an_act_leaves_each_stream_whole(system: System, redis: Redis) -> None:
    """Operate/Many, Operate/Drain: the order can be sent again, and the next broker ends by order."""
    await system.start(workers=0)
    anything: Any = redis
    log, slips = Log(redis, "ms"), Slips(redis, "ms", 60)
    new = NewStream(digest="d", tenant="default", model="demo/count", ttl_s=60, request=b'{"input":"hi"}')
    for n in range(MANY):
        await log.create(f"s{n}", new, look_in_ms=9_000)
    await slips.write_many({f"s{n}": 0 for n in range(MANY)})

    async def order(**fields: Any) -> Any:
        body = {"act": "delete", "where": {"status": "queued"}, **fields}
        return (await system.http.post("/v1/operate/acts", json=body)).json()

    assert (await order(dry_run=True))["count"] == MANY
    acting = asyncio.create_task(order(expect=MANY))
    while len(await _deleted(redis)) < MANY // 4:
        await asyncio.sleep(0.005)
    await stop(system.brokers[0], signal.SIGKILL)
    with contextlib.suppress(httpx2.TransportError):
        await acting
    gone = await _deleted(redis)
    assert MANY // 4 <= len(gone) < MANY
    for n in range(MANY):
        state = await anything.hgetall(f"ms:{{s{n}}}:state")
        if f"s{n}" in gone:
            assert state == {b"status": b"deleted"}
            assert not await redis.exists(f"ms:{{s{n}}}:log", f"arq:job:s{n}.0")
        else:
            assert state[b"status"] == b"queued" or state[b"outcome"] == b"cancelled"
            assert state[b"request"] == new.request
    await system.start_broker()
    left = (await order(dry_run=True))["count"]
    assert left <= MANY - len(gone)
    assert (await order(expect=left))["done"] == left
    cancelled = await order(where={"outcome": "cancelled"}, expect=MANY)  # those it was at when it was killed
    assert len(await _deleted(redis)) == MANY
    assert cancelled["done"] == MANY - len(gone) - left
    assert await redis.zcard("ms:queue") == await redis.zcard("ms:due") == 0
    async with asyncio.timeout(10):
        while len(rows := (await system.http.get("/v1/operate/brokers")).json()["data"]) < 1:
            await asyncio.sleep(0.05)
    newest = max(rows, key=lambda row: row["started_ms"])
    assert (await system.http.post(f"/v1/operate/brokers/{newest['name']}/drain")).status_code == 202
    assert await asyncio.wait_for(system.brokers[1].wait(), 10) == -signal.SIGTERM


async def _deleted(redis: Redis) -> set[str]:
    async with redis.pipeline(transaction=False) as pipe:
        for n in range(MANY):
            pipe.hget(f"ms:{{s{n}}}:state", "status")
        statuses = await pipe.execute()
    return {f"s{n}" for n, status in enumerate(statuses) if status == b"deleted"}
