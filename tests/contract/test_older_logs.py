"""Logs that processes of an older version write: they are read and continued, and theirs go on with ours.

`older_scripts/` holds scripts as the first released logs were written by them. They stay as they are.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.log.entries import END, Entry, encode
from midstream.log.errors import IdempotencyMismatch, StreamSealed
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.state import FIELDS
from midstream.log.values import Ending, Fence, Notes
from tests.contract.new_streams import create

FOLDER = Path(__file__).parent / "older_scripts"
LEASE_MS = 60_000
ENDING = Ending([encode(Entry(END, {"outcome": "completed"}))], "completed")
NEW = ("tenant", "t", "model", "m", "policy", "restart", "thread", "", "metadata", "{}", "ttl_s", 60, "request", "{}")


class Older:
    """A process of the older version, at one stream."""

    def __init__(self, redis: Redis, log: Log, stream_id: str) -> None:
        self._redis = redis
        self._keys = [log.keys.state(stream_id), log.keys.log(stream_id)]
        self._channel = log.keys.channel(stream_id)

    async def _run(self, name: str, keys: int, *words: str | bytes | int) -> Any:
        source = f"#!lua flags=allow-oom\n{(FOLDER / f'{name}.lua').read_text()}"
        execute: Any = self._redis.execute_command
        return await execute("EVAL", source, keys, *self._keys[:keys], *words)

    async def create(self) -> Any:
        return await self._run("create", 1, "d", *NEW)

    async def claim(self, owner: str) -> Any:
        return await self._run("claim", 2, owner, LEASE_MS, self._channel, "request", *FIELDS)

    async def renew(self, fence: Fence) -> Any:
        return await self._run("renew", 1, fence.epoch, fence.owner, LEASE_MS, "intent", fence.epoch)

    async def append(self, fence: Fence, tail: int, *contents: bytes) -> Any:
        return await self._run("append", 2, fence.epoch, fence.owner, tail, self._channel, 7, "", 0, *contents)


@pytest.fixture
async def log(redis: Redis) -> AsyncIterator[Log]:
    log = Log(redis, "ms")
    yield log
    await redis.delete(log.keys.due)


async def test_what_an_older_process_began_goes_on(redis: Redis, log: Log) -> None:
    """State/Keys, Entries/Time: a worker of the older version is replaced in the middle of a generation."""
    stream_id = new_id()
    older = Older(redis, log, stream_id)
    assert (await older.create())[0] == b"created"
    with pytest.raises(IdempotencyMismatch):
        await create(log, stream_id, digest="another")
    assert await create(log, stream_id) is None
    assert (await older.claim("older"))[0] == b"ok"
    fence = Fence(1, "older")
    assert (await older.renew(fence))[0] == b"ok"
    assert await older.append(fence, 1, b"ta", b"tb") == [b"ok", 3]

    state, rows = await log.read(stream_id, 0, 10)
    assert state is not None
    facts = state.status, state.tail, state.intent, state.upstream_cursor, state.policy
    assert facts == ("running", 3, 1, 7, "restart")
    assert [row.content for row in rows] == [b's{"epoch":1,"model":"m"}', b"ta", b"tb"]
    assert state.last_entry_ms is None
    assert await log.append(stream_id, fence, 3, [b"tc"], after_ms=40) == 4
    state, timed = await log.read_timed(stream_id, 0, 10)
    assert state is not None
    assert [row.written_ms for row in timed] == [None, None, None, state.last_entry_ms]
    assert await log.renew(stream_id, fence, LEASE_MS, Notes(upstream_id="resp_1")) is False
    await log.release(stream_id, fence)
    claim = await log.claim(stream_id, "newer", LEASE_MS)
    assert (claim.fence.epoch, claim.state.tail, claim.state.upstream_id, claim.request) == (2, 5, "resp_1", b"{}")
    assert await log.seal(stream_id, claim.fence, 5, ENDING) == 6
    assert (await older.append(claim.fence, 6, b"tx"))[:2] == [b"sealed", b"completed"]


async def test_an_older_process_goes_on_with_what_we_began(redis: Redis, log: Log) -> None:
    """State/Keys: brokers are replaced before workers."""
    stream_id = new_id()
    older = Older(redis, log, stream_id)
    await create(log, stream_id)
    assert (await older.create())[0] == b"found"
    await log.claim(stream_id, "newer", LEASE_MS)
    fence = Fence(1, "newer")
    assert (await older.renew(fence))[0] == b"ok"
    assert await older.append(fence, 1, b"ta") == [b"ok", 2]
    assert await log.cancel(stream_id, ENDING) is False
    assert (await older.renew(fence))[1] != b""
    await log.seal(stream_id, fence, 2, ENDING)
    with pytest.raises(StreamSealed):
        await log.append(stream_id, fence, 3, [b"tx"])
    _, rows = await log.read(stream_id, 0, 10)
    assert [(row.offset, row.epoch) for row in rows] == [(1, 1), (2, 1), (3, 1)]
