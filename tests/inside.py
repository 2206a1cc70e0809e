"""A broker inside the test's own loop, and a client of it whose answers are checked.

For faults that need a process to kill there is `tests/system.py`. Programs stop by uvicorn's own code:
tests/contract/test_stopping.py and tests/e2e/test_up.py have real processes.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from starlette.types import ASGIApp

from midstream.http.app import create_app
from midstream.settings import Settings
from midstream.testing.in_process import serving, worker
from tests import declared

__all__ = ["broker", "served", "worker"]


@asynccontextmanager
async def broker(settings: Settings, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve on a free port and yield a client of it; `options` are uvicorn's."""
    async with served(settings, create_app(settings), **options) as client:
        yield client


@asynccontextmanager
async def served(settings: Settings, app: ASGIApp, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve an app that the test may have added to."""
    certificate = options.get("ssl_certfile")
    verify = ssl.create_default_context(cafile=certificate) if certificate else True
    hooks: dict[str, list[Any]] = {"response": [declared.check]}
    async with (
        serving(settings, app, **options) as url,
        httpx2.AsyncClient(base_url=url, timeout=20, verify=verify, event_hooks=hooks) as client,
    ):
        yield client
