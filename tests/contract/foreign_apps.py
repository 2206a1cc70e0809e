"""FastAPI apps of somebody else's, each served by a plain uvicorn in the test's own loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx2
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from starlette.types import ASGIApp

import midstream
from midstream.testing.in_process import listening

PREFIX = "/streams"
EXTERNAL = {"producer": "external"}
ADA = {"X-User": "ada"}


def current_user(x_user: Annotated[str | None, Header()] = None) -> str:
    """Return whom the app's own header names, as an app in a tutorial does."""
    if x_user is None:
        raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Bearer"})
    return x_user


def app_of(redis_url: str) -> FastAPI:
    app = FastAPI()
    app.include_router(midstream.router(caller=current_user, redis_url=redis_url), prefix=PREFIX)
    return app


@asynccontextmanager
async def serving(app: ASGIApp, prefix: str = PREFIX) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve an app as `uvicorn app:app` does, and yield Ada's client of what it has below the prefix."""
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, lifespan="on")
    async with listening(config) as url, httpx2.AsyncClient(base_url=url + prefix, timeout=20, headers=ADA) as client:
        yield client


async def begun(client: httpx2.AsyncClient, **headers: str) -> str:
    """Start a stream that nobody seals."""
    answer = await client.post("/v1/streams", json=EXTERNAL, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def ended(client: httpx2.AsyncClient, stream_id: str) -> None:
    assert (await client.delete(f"/v1/streams/{stream_id}")).status_code == 204
