"""The front door: all routes over one house."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from broker.http import events, problems, site, streams
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
    )
    problems.install(app)
    app.add_middleware(site.PageHeaders)
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)
    app.include_router(streams.router)
    app.include_router(events.router)
    site.install(app)
    return app
