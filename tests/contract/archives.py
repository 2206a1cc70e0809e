"""What the tests of archives share: streams written by hand, and the two programs run in the test's own loop."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis

from midstream.access.grant import owner_of
from midstream.log.entries import END, Entry, encode, text
from midstream.log.installation import kept_secret
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.log.values import Ending, NewStream
from midstream.log.whole import WholeStreams
from midstream.operate.archive.archive_lines import Bounds, Heading, secret_digest
from midstream.operate.archive.exporter import Exported, Exporter, Selection
from midstream.operate.archive.importer import Imported, Importer

BOUNDS = Bounds(line_bytes=1_000_000, all_bytes=100_000_000, stream_entries=10_000, stream_bytes=1_000_000)
REQUEST = orjson.dumps({"model": "demo/count", "input": "héllo"})


async def write_stream(
    redis: Redis,
    name: str,
    *,
    contents: Sequence[str] = ("one ", "zwei\n"),
    outcome: str = "completed",
    user: str = "",
    thread: str = "",
    ttl_s: int = 600,
) -> None:
    """Write a stream that has ended, and list it."""
    log, registry = Log(redis, "ms"), Registry(redis, "ms")
    tenant, _, stream_id = name.rpartition("/")
    new = NewStream(
        digest=f"digest of {name}",
        tenant=tenant or "default",
        user=user,
        thread=thread,
        model="demo/count",
        ttl_s=ttl_s,
        request=REQUEST,
    )
    created_ms = await log.create(name, new, look_in_ms=5_000)
    assert created_ms
    claim = await log.claim(name, "me", 60_000)
    tail = claim.state.tail
    for content in contents:
        tail = await log.append(name, claim.fence, tail, [encode(text(content))], after_ms=tail * 7)
    end = encode(Entry(END, {"outcome": outcome, "finish_reason": "stop", "error": None, "usage": {}, "timings": {}}))
    await log.seal(name, claim.fence, tail, Ending([end], outcome))
    for owner in {new.tenant, owner_of(new.tenant, new.user)}:
        await registry.add(owner, stream_id, created_ms, keep_s=ttl_s)


async def export(redis: Redis, path: Path, selection: Selection = Selection(), bounds: Bounds = BOUNDS) -> Exported:  # noqa: B008
    """Do as `midstream export`."""
    secret = (await kept_secret(redis, "ms")).decode()
    heading = Heading(selection.filters, secret_digest(secret), "" if selection.filters else secret)
    exporter = Exporter(Log(redis, "ms"), WholeStreams(redis, "ms"), bounds)
    with open(path, "a+b") as file:  # noqa: ASYNC230, PTH123 - a small file
        return await exporter.run(file, selection, heading, lambda _, __: None)


async def bring_in(
    redis: Redis, archive: bytes, *, tenant: str = "", any_secret: bool = False, prefix: str = "ms"
) -> Imported:
    """Do as `midstream import`."""
    importer = Importer(redis, prefix, BOUNDS, lambda _: None)
    file = io.BytesIO(archive)
    await importer.adopt_secret(await importer.check(file, tenant), any_secret=any_secret)
    return await importer.run(file)


async def contents_of(redis: Redis) -> dict[bytes, Any]:
    """Return everything on the server that lasts: each key with its value, without what the server measures itself."""
    values: dict[bytes, Any] = {}
    measured: Counter[bytes] = Counter()
    for key in sorted(set(await redis.keys("*")) - {b"ms:ended", b"ms:trail"}):
        kind = await redis.type(key)
        if kind == b"hash":
            row: Any = redis.hgetall(key)
            values[key] = fields = await row
            measured[fields.get(b"tenant", b"")] += int(fields.pop(b"stored_bytes", 0))
            fields.pop(b"log_bytes", None)
        elif kind == b"stream":
            values[key] = await redis.xrange(key)
        elif kind == b"zset":
            values[key] = await redis.zrange(key, 0, -1, withscores=True)
        else:
            values[key] = await redis.get(key)
    for key in filter(lambda key: key.startswith(b"ms:stored:"), values):
        counted = sum(map(int, values[key].values()))
        values[key] = {"times": sorted(values[key]), "counted, not there": counted - measured[key.rpartition(b":")[2]]}
    return values


async def expiries_ms(redis: Redis) -> dict[bytes, int]:
    """Return when each key of a stream expires."""
    times: dict[bytes, int] = {}
    for key in await redis.keys("ms:{*"):
        at: Any = redis.pexpiretime(key)
        times[key] = await at
    return times
