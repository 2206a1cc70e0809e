"""Streams for tests: created by hand, as on the log, or started by a request and brought to their end."""

import httpx2

from midstream.log.log import Log
from midstream.log.values import NO_SLIP, NewStream, Slip


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
    slip: Slip = NO_SLIP,
) -> int | None:
    """Do as `Log.create`."""
    new = NewStream(digest=digest, tenant=tenant, model=model, policy=policy, ttl_s=60, request=request, slip=slip)
    return await log.create(stream_id, new, look_in_ms=look_in_ms)


async def ended_stream(client: httpx2.AsyncClient, words: int, **fields: str) -> str:
    """Start a stream of the demo, with further fields, wait for its end, and return its id."""
    start = {"model": "demo/count", "input": "count", "params": {"words": words}, **fields}
    answer = await client.post("/v1/streams", json=start)
    assert answer.status_code == 201, answer.text
    stream_id: str = answer.json()["id"]
    assert answer.headers["location"] == f"/v1/streams/{stream_id}"
    await client.get(f"/v1/streams/{stream_id}", params={"wait": 10})
    return stream_id
