"""Which other origins' pages may use this broker (PROTOCOL: Http/Cors)."""

from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

from midstream.settings import Settings

EXPOSED: Final = (
    "Stream-Id",
    "Stream-Reattach",
    "Location",
    "Retry-After",
    "Error-Code",
    "X-Request-Id",
    "X-Should-Retry",
    "X-Vercel-AI-UI-Message-Stream",
)
SAME_ORIGIN: Final = "same-origin"
"""What a browser says in `Sec-Fetch-Site` of a page of ours; no page can write this header."""
PREFLIGHT_S: Final = 7_200
"""How long a browser need not ask again; Chromium takes no longer time than this."""


def allowed(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Let the pages of `MIDSTREAM_CORS_ORIGINS` use the app. They can read what is inside of this, refusals as well."""
    if not settings.allowed_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.allowed_origins,
        allow_methods=("GET", "POST", "DELETE"),
        # SDKs send headers of their own; cookies, with which that would be unsafe, are not used.
        allow_headers=("*",),
        expose_headers=EXPOSED,
        max_age=PREFLIGHT_S,
    )


def is_foreign(connection: HTTPConnection, settings: Settings) -> bool:
    """Tell whether a page asks whose origin is neither ours nor let in; programs send no origin.

    The browser's own word counts more than a comparison with `Host`, which proxies replace.
    """
    origin = connection.headers.get("origin")
    if not {origin, "*"}.isdisjoint(settings.allowed_origins):
        return False
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site not in (SAME_ORIGIN, "none")
    return origin is not None and origin.partition("://")[2] != connection.headers.get("host")
