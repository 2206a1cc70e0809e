"""The front door: all routes over one house."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from broker.http import (
    ai_sdk,
    anthropic_messages,
    cors,
    events,
    openai_chat,
    openai_responses,
    problems,
    site,
    streams,
    ws,
)
from broker.http.json_only import JsonOnly
from broker.http.limits import BodyLimit
from broker.ops.house import opened
from broker.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the ASGI app of one broker process; it connects when its lifespan starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings) as house:
            app.state.house = house
            yield

    app = FastAPI(
        title="midstream",
        description="A resumable stream broker with a durable event log. See broker/PROTOCOL.md.",
        version="0.1.0",
        lifespan=lifespan,
        redoc_url=None,
        responses={
            "default": {"description": "An error: a problem document, or in the shape of the peer whose path it is"}
        },
    )
    problems.install(app)
    app.add_middleware(site.PageHeaders)
    app.add_middleware(JsonOnly)
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)
    app.include_router(streams.router)
    app.include_router(events.router)
    app.include_router(ws.router)
    app.include_router(ai_sdk.router)
    app.include_router(openai_responses.router)
    app.include_router(openai_chat.router)
    app.include_router(anthropic_messages.router)
    site.install(app)
    cors.install(app, settings)
    return app
