"""The chat page, and the browser's client as a module."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, Header, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.module_bundle import bundled

router = APIRouter()

PAGE: Final = Path(__file__).parent.parent / "page"
POLICY: Final = b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@router.get("/", include_in_schema=False)
async def index() -> Response:
    """Serve the chat page. It asks its user for a key, so it is served without one."""
    return Response((PAGE / "index.html").read_bytes(), media_type="text/html")


@router.get("/midstream.js", include_in_schema=False)
async def module(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Serve the browser's client, the module that the page itself uses."""
    return _public(_module(), "text/javascript", if_none_match)


@router.get("/midstream.d.ts", include_in_schema=False)
async def module_types(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Serve the types of the browser's client."""
    return _public((PAGE / "midstream.d.ts").read_bytes(), "text/plain", if_none_match)


@cache
def _module() -> bytes:
    return bundled(PAGE)


def _public(content: bytes, media_type: str, if_none_match: str | None) -> Response:
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {
        "Access-Control-Allow-Origin": "*",  # other origins may import it: it holds nothing that is not public
        "Cache-Control": "no-cache",
        "ETag": tag,
        "X-Content-Type-Options": "nosniff",
    }
    # A proxy that compresses makes the tag a weak one.
    if if_none_match is not None and tag in [each.strip().removeprefix("W/") for each in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


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
