"""Streams that are claimed by hand, by a worker that is slow or never comes back."""

from redis.asyncio import Redis

from midstream.log.entries import encode, text
from midstream.log.keys import new_id
from midstream.log.log import Fence, Log

LOST_LEASE_MS = 300


async def claim_and_vanish(redis: Redis, stream_id: str, answered: str = "", **notes: str | int) -> Fence:
    """Act as a worker that claims a stream, notes and appends something, and vanishes."""
    log = Log(redis, "ms")
    fence, tail, *_ = await log.claim(stream_id, "lost", LOST_LEASE_MS)
    if notes:
        await log.renew(stream_id, fence, LOST_LEASE_MS, **notes)
    if answered:
        await log.append(stream_id, fence, tail, [encode(text(answered))])
    return fence


async def create_and_claim(log: Log, lease_ms: int) -> tuple[str, Fence]:
    """Return a running stream whose upstream call was made: a reaper seals it once its owner is lost."""
    stream_id = new_id()
    await log.create(stream_id, "d", {"tenant": "t", "model": "m", "ttl_s": 60}, lease_ms)
    fence, *_ = await log.claim(stream_id, "me", lease_ms)
    await log.renew(stream_id, fence, lease_ms, intent=1)
    return stream_id, fence
