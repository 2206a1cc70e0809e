"""A broker with keys, and what tests of access ask it for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from pydantic import SecretStr

from midstream.settings import Settings
from tests import inside

START = {"model": "demo/count", "input": "one two three", "params": {"words": 5, "delay_ms": 0}}
ADMIN = {"Authorization": "Bearer admin"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def started(client: httpx2.AsyncClient, headers: dict[str, str], **changes: Any) -> str:
    answer = await client.post("/v1/streams", json=START | changes, headers=headers)
    assert answer.status_code == 201, answer.text
    stream_id: str = answer.json()["id"]
    await client.get(f"/v1/streams/{stream_id}?wait=10", headers=headers)
    return stream_id


async def read_token(client: httpx2.AsyncClient, **request: Any) -> str:
    answer = await client.post("/v1/tokens", json=request, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


@asynccontextmanager
async def served(settings: Settings, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    closed = settings.model_copy(update={"api_keys": SecretStr("admin:acme")} | changes)
    async with inside.worker(closed), inside.broker(closed) as client:
        yield client
