"""Creating streams by hand, as tests of the log and of what stands on it do."""

from midstream.log.log import Log
from midstream.log.values import NewStream


async def create(
    log: Log,
    stream_id: str,
    *,
    digest: str = "d",
    tenant: str = "t",
    model: str = "m",
    policy: str = "interrupt",
    request: bytes = b"{}",
    look_in_ms: int = 5_000,
) -> int | None:
    """Do as `Log.create`."""
    new = NewStream(digest=digest, tenant=tenant, model=model, policy=policy, ttl_s=60, request=request)
    return await log.create(stream_id, new, look_in_ms=look_in_ms)
