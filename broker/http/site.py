"""The page, the models, the probes."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.http.auth import AHouse, ATenant
from broker.http.streams import JSON
from broker.models import available, resolve

router = APIRouter()

PAGE: Final = Path(__file__).parent.parent / "page"
POLICY: Final = b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@router.get("/", include_in_schema=False)
async def index() -> Response:
    """Serve the chat page; it is its own key-holder, so it needs none."""
    return Response((PAGE / "index.html").read_bytes(), media_type="text/html")


@router.get("/v1/models", tags=["models"], response_class=Response)
async def models(house: AHouse, tenant: ATenant) -> Response:  # noqa: ARG001
    """List the models that can be asked for; `default` marks the one used when none is named."""
    default = resolve(None, house.settings)
    data = [
        {
            "id": m.id,
            "object": "model",
            "provider": m.provider,
            "description": m.description,
            "default": m.id == default,
        }
        for m in available(house.settings)
    ]
    return JSON({"object": "list", "data": data, "default": default})


@router.get("/healthz", tags=["probes"], response_class=Response)
async def healthz() -> Response:
    """Answer while the process lives."""
    return JSON({"status": "ok"})


@router.get("/readyz", tags=["probes"], response_class=Response)
async def readyz(house: AHouse) -> Response:
    """Answer 200 when the log answers, else 503 `log_unavailable`."""
    await house.registry.ping()
    return JSON({"status": "ok", "model": resolve(None, house.settings)})


class PageHeaders:
    """Puts the page's security headers on everything below `/page` and on `/` itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == "/" or path.startswith("/page/")):
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),  # the stream's id stands in the URL
                    (b"cache-control", b"no-cache"),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)


def install(app: FastAPI) -> None:
    """Mount the page's files and the routes of this module."""
    app.include_router(router)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
