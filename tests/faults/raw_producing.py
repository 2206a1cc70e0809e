"""What a program in another language does that produces by HTTP: it knows the routes, and nothing of midstream's code.

It follows docs/produce.md: each request is sent again until it is answered, and the lease is renewed in pauses.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import httpx2

REPLY_S = 5.0
GIVE_UP_S = 12.0
AGAIN_S = 0.05
FOR_NOW = frozenset((408, 425, 429, 500, 502, 503, 504))


class RefusedError(Exception):
    """The broker has refused a request for good; the words are its code."""


def client_of(url: str) -> httpx2.AsyncClient:
    """Return a client for all answers of a program, because each one that is made reads all certificates."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx2.AsyncClient(base_url=url, timeout=REPLY_S, limits=limits)


async def produce_raw(
    http: httpx2.AsyncClient, key: str, pieces: Sequence[str], delays_s: tuple[float, float], begun: Callable[[], None]
) -> None:
    """Produce one answer, an entry for each piece; `delays_s` are the pauses before the first and after each.

    Raises:
        RefusedError: The stream goes on without this program.
        TimeoutError: The broker did not answer for too long.
    """
    first_delay_s, delay_s = delays_s
    owner = secrets.token_hex()
    headers = {"Idempotency-Key": key, "Stream-Owner": owner}
    started = await _answered(http, "/v1/streams", headers, json={"producer": "external"})
    begun()
    path, tail, lease_s = f"/v1/streams/{started['id']}", started["tail"], started["lease_ms"] / 1000
    fence = {"Stream-Epoch": str(started["epoch"]), "Stream-Owner": owner}

    async def pause(pause_s: float) -> None:
        while pause_s > lease_s / 3:
            await asyncio.sleep(lease_s / 3)
            pause_s -= lease_s / 3
            await _answered(http, f"{path}/lease", fence)
        await asyncio.sleep(pause_s)

    await pause(first_delay_s)
    for piece in pieces:
        line = json.dumps({"type": "text", "text": piece})
        head = fence | {"Stream-Tail": str(tail), "Content-Type": "application/x-ndjson"}
        tail = (await _answered(http, f"{path}/entries", head, content=line))["tail"]
        await pause(delay_s)
    head = fence | {"Stream-Tail": str(tail)}
    await _answered(http, f"{path}/seal", head, json={"outcome": "completed"})


async def _answered(http: httpx2.AsyncClient, path: str, headers: dict[str, str], **body: Any) -> dict[str, Any]:
    """Send a request until it is answered, and return the answer."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            try:
                answer = await http.post(path, headers=headers, **body)
            except httpx2.TransportError:
                await asyncio.sleep(AGAIN_S)
                continue
            if answer.is_success:
                document: dict[str, Any] = answer.json()
                return document
            if answer.status_code not in FOR_NOW:
                raise RefusedError(answer.json()["code"])
            await asyncio.sleep(AGAIN_S)
