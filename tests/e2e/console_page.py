"""The console at `/console`, as its tests speak of it."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
from playwright.async_api import Page, expect

from midstream.settings import Settings
from tests import inside

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

OPERATOR = "operator" * 5
TENANT = "tenants-key" * 4
KEYS = """
[[keys]]
name = "ops"
sha256 = "{}"
tenant = "admin"
scopes = ["operate"]
[[keys]]
name = "ada"
sha256 = "{}"
tenant = "acme"
"""


@asynccontextmanager
async def operated(settings: Settings, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a broker with an operator's key, one worker, and the tenant's key on each request."""
    path = tmp_path / "keys.toml"
    path.write_text(KEYS.format(*(hashlib.sha256(key.encode()).hexdigest() for key in (OPERATOR, TENANT))))
    closed = settings.model_copy(update={"keys_file": path})
    async with inside.worker(closed), inside.broker(closed) as client:
        client.headers["Authorization"] = f"Bearer {TENANT}"
        yield client


async def started(client: httpx2.AsyncClient, words: int, delay_ms: int, **more: object) -> str:
    params = {"words": words, "delay_ms": delay_ms}
    answer = await client.post("/v1/streams", json={"model": "demo/count", "input": "count", "params": params, **more})
    stream_id: str = answer.json()["id"]
    return stream_id


async def ended(client: httpx2.AsyncClient, stream_id: str) -> None:
    answer = await client.get(f"/v1/streams/{stream_id}?wait=10")
    assert answer.json()["status"] == "ended"


def url_of(client: httpx2.AsyncClient, path: str) -> str:
    return f"http://localhost:{client.base_url.port}/console{path}"


async def signed_in(tabs: "Tabs", client: httpx2.AsyncClient, path: str) -> Page:
    """Open a page of the console, with an operator's session."""
    tabs.expected.add("401")  # Chromium's own line for what is refused before the sign-in
    page = await tabs.open(url_of(client, path))
    await page.get_by_placeholder("Operator's key").fill(OPERATOR)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1).last).to_be_visible()
    return page
