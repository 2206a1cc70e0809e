"""`/docs`: the API to read and to try; nothing on the page comes from another host."""

from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles

FILES: Final = Path(__file__).parent.parent / "swagger_ui"
_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'"
)
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
        "description": "Start, tail and cancel streams, any number of them on one socket. Each message is JSON. "
        'To start one, send `{"type": "start", "request": {…}}`, where `request` is the body of `POST /v1/streams`. '
        'To tail one, send `{"type": "tail", "id": "…", "after": 0}`. Other types are `leave`, `cancel` and `ping`. If '
        "the broker has keys and the request has no key in a header, the first message is "
        '`{"type": "auth", "key": "…"}`. Every message may have a `ref`, which the answer to it repeats. '
        "PROTOCOL: WebSocket lists the answers. This page cannot open a socket; `examples/websocket/ask.mjs` does.",
        "parameters": [
            {"name": "Upgrade", "in": "header", "required": True, "schema": {"type": "string", "enum": ["websocket"]}}
        ],
        "responses": {
            "101": {"description": "The socket is open. Without a key it is closed with 4401."},
            "default": {"description": "The request does not ask for a socket; the answer is a problem document."},
        },
    }
}


def install(app: FastAPI, paths: dict[str, Any]) -> None:
    """Serve `/docs`, and complete the description that it shows: by `paths` too, which FastAPI does not know."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        document.setdefault("components", {})["securitySchemes"] = _SCHEMES
        document["security"] = [{}, *({name: []} for name in _SCHEMES)]  # {}: a broker without keys asks for none
        document["paths"].update(paths)
        document["paths"]["/v1/ws"] = _SOCKET
        for path in _OPEN_PATHS:
            document["paths"][path]["get"]["security"] = []
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    app.mount("/docs/files", StaticFiles(directory=FILES), name="docs files")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        """Serve the page, also behind a proxy that serves it below a prefix."""
        root = request.scope.get("root_path", "").rstrip("/")
        page = get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title="midstream",
            swagger_js_url=f"{root}/docs/files/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/files/swagger-ui.css",
            swagger_favicon_url=f"{root}/page/icon.svg",
        )
        page.headers["Content-Security-Policy"] = _POLICY
        return page
