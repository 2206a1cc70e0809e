"""Which other origins' pages may use this broker (PROTOCOL: Http/Cors)."""

from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection

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
PREFLIGHT_S: Final = 7_200
"""How long a browser need not ask again; Chromium takes no longer time than this."""


def install(app: FastAPI, settings: Settings) -> None:
    """Let the pages of `MIDSTREAM_CORS_ORIGINS` in. Call this last, so that they can read refusals as well."""
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=(
                "*",
            ),  # SDKs send headers of their own; cookies, with which that would be unsafe, are not used
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_S,
        )


def is_foreign(connection: HTTPConnection, settings: Settings) -> bool:
    """Tell whether a page asks whose origin is neither ours nor let in; programs send no origin."""
    origin = connection.headers.get("origin")
    if origin is None or not {origin, "*"}.isdisjoint(settings.allowed_origins):
        return False
    return urlsplit(origin).netloc != connection.headers.get("host")
