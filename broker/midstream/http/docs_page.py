"""`/docs`: the API to read and to try; nothing on the page comes from another host."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response

from midstream.http.declared_answers import declare
from midstream.http.packaged_files import PackagedFile, packaged, serve_folder

FILES: Final = Path(__file__).parent.parent / "swagger_ui"
PAGE: Final = Path(__file__).parent.parent / "page"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_SCHEMES: Final[dict[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, a token of your identity provider, or a read token.",
    },
    "x-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same key, in Anthropic's header.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-midstream",
        "description": "A page's session, from `POST /v1/session`; on loopback without TLS the name is `midstream`.",
    },
}
_OPEN_PATHS: Final = ("/healthz", "/readyz")
_SOCKET: Final[dict[str, Any]] = {
    "get": {
        "tags": ["streams"],
        "summary": "WebSocket",
        "operationId": "websocket",
        "description": "Start, tail, produce and cancel streams, any number on one socket. Each message is JSON. "
        'To start one, send `{"type": "start", "request": {…}}`, where `request` is the body of `POST /v1/streams`. '
        'To tail one, send `{"type": "tail", "id": "…", "after": 0}`. Other types are `leave`, `cancel`, `ping`, and '
        "`produce`, `append`, `lease` and `seal`, with which a client appends to a stream of its own. If "
        "the broker has keys and the request has no key in a header, the first message is "
        '`{"type": "auth", "key": "…"}`. Every message may have a `ref`, which the answer to it repeats. '
        "PROTOCOL: WebSocket lists the answers. This page cannot open a socket; `examples/websocket/ask.mjs` does.",
        "parameters": [
            {"name": "Upgrade", "in": "header", "required": True, "schema": {"type": "string", "enum": ["websocket"]}}
        ],
        "responses": {
            "101": {"description": "The socket is open. Without a key it is closed with 4401."},
            "404": {"description": "The request does not ask for a socket."},
        },
    }
}


def install(app: FastAPI, paths: dict[str, Any]) -> None:
    """Serve `/docs`, and complete the description that it shows: by `paths` too, which FastAPI does not know.

    Raises:
        KeyError: A route does not declare what it answers (`declared_answers.py`).
    """
    described = app.openapi
    app.openapi = cache(lambda: _completed(described(), paths))  # type: ignore[method-assign]
    serve_folder(app, "/docs/files", FILES)
    as_file = cache(lambda: PackagedFile.of(orjson.dumps(app.openapi()), "application/json"))

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        """Serve the description. Encoding it takes 6 ms, so that is done once."""
        return as_file().response(request)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """Serve the page. Its links are relative, so a proxy may serve it below a prefix."""
        return Response(packaged(PAGE)["docs.html"].content, media_type="text/html", headers=HEADERS)


def _completed(document: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    document["paths"].update(paths)
    declare(document)
    document["paths"]["/v1/ws"] = _SOCKET
    document["components"]["securitySchemes"] = _SCHEMES
    document["security"] = [{}, *({name: []} for name in _SCHEMES)]  # {}: a broker without keys asks for none
    for path in _OPEN_PATHS:
        document["paths"][path]["get"]["security"] = []
    return document
