"""Streams that are claimed by hand, by a worker that is slow or never comes back."""

from redis.asyncio import Redis

from midstream.log.entries import encode, text
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.values import NO_NOTES, Fence, Notes
from tests.contract.new_streams import create

LOST_LEASE_MS = 300


async def claim_and_vanish(redis: Redis, stream_id: str, answered: str = "", notes: Notes = NO_NOTES) -> Fence:
    """Act as a worker that claims a stream, notes and appends something, and vanishes."""
    log = Log(redis, "ms")
    claim = await log.claim(stream_id, "lost", LOST_LEASE_MS)
    if notes != NO_NOTES:
        await log.renew(stream_id, claim.fence, LOST_LEASE_MS, notes)
    if answered:
        await log.append(stream_id, claim.fence, claim.state.tail, [encode(text(answered))])
    return claim.fence


async def create_and_claim(log: Log, lease_ms: int) -> tuple[str, Fence]:
    """Return a running stream whose upstream call was made: a reaper seals it once its owner is lost."""
    stream_id = new_id()
    await create(log, stream_id, look_in_ms=lease_ms)
    fence = (await log.claim(stream_id, "me", lease_ms)).fence
    await log.renew(stream_id, fence, lease_ms, Notes(intent=1))
    return stream_id, fence
