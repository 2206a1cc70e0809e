"""The chat page, the operators' console, and the browser's client as a module."""

from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.module_bundle import bundled
from midstream.http.packaged_files import REVALIDATED, PackagedFile, packaged, serve_folder

router = APIRouter()
module_router = APIRouter()

PAGE: Final = Path(__file__).parent.parent / "page"
PUBLIC: Final = REVALIDATED | {"Access-Control-Allow-Origin": "*"}
"""Other origins may import the module: it holds nothing that is not public."""
CONSOLE: Final = Path(__file__).parent.parent / "console"
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    b"require-trusted-types-for 'script'; trusted-types dompurify"
)
"""The page makes markup of models' Markdown by the purifier alone, and nothing on it comes from another host."""
CONSOLE_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No script can make markup of text: what the console shows was written by models and by their users."""


@router.get("/", include_in_schema=False)
async def index() -> Response:
    """Serve the chat page. It asks its user for a key, so it is served without one."""
    return Response(packaged(PAGE)["index.html"].content, media_type="text/html")


@router.get("/console", include_in_schema=False)
@router.get("/console/{path:path}", include_in_schema=False)
async def console() -> Response:
    """Serve the console's one document, whatever the path: its script shows what the path names."""
    return Response(packaged(CONSOLE)["index.html"].content, media_type="text/html")


@module_router.get("/midstream.js", include_in_schema=False)
async def module(request: Request) -> Response:
    """Serve the browser's client, the module that the page itself uses."""
    return _module().response(request, PUBLIC)


@module_router.get("/midstream.d.ts", include_in_schema=False)
async def module_types(request: Request) -> Response:
    """Serve the types of the browser's client."""
    return PackagedFile.of(packaged(PAGE)["midstream.d.ts"].content, "text/plain").response(request, PUBLIC)


@cache
def _module() -> PackagedFile:
    return PackagedFile.of(bundled(PAGE), "text/javascript")


class PageHeaders:
    """Puts the pages' security headers on `/`, on `/console`, and on everything below that and below `/page`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        path = scope.get("path", "")
        is_of_console = path == "/console" or path.startswith("/console/")
        if scope["type"] != "http" or not (is_of_console or path == "/" or path.startswith("/page/")):
            await self._app(scope, receive, send)
            return
        policy = CONSOLE_POLICY if is_of_console else POLICY

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", policy),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),  # the stream's id stands in the URL
                    (b"cache-control", b"no-cache"),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)


def install(app: FastAPI) -> None:
    """Mount the files of both pages and the routes of this module."""
    serve_folder(app, "/page", PAGE)
    serve_folder(app, "/console/files", CONSOLE)
    app.include_router(router)
    app.include_router(module_router)
