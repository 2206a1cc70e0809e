"""Whom the broker believes where a request comes from. PROTOCOL: Http/Proxies."""

import json

import httpx2
import pytest
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from midstream.http.app import create_app
from midstream.settings import Settings

FORWARDED = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}


async def seen_from(address: str, settings: Settings) -> tuple[str, str]:
    """Return the client's address and the scheme that the app sees of a request from an address."""
    app = create_app(settings)

    async def seen(scope: Scope, _: Receive, send: Send) -> None:
        body = json.dumps([scope["client"][0], scope["scheme"]]).encode()
        start: Message = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)
        await send({"type": "http.response.body", "body": body})

    app.router.routes.insert(0, Mount("/seen", seen))
    transport = httpx2.ASGITransport(app, client=(address, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=FORWARDED) as client:
        address, scheme = (await client.get("/seen/")).json()
    return address, scheme


@pytest.mark.parametrize(
    ("address", "proxies", "expected"),
    [
        ("127.0.0.1", "", ("203.0.113.9", "https")),
        ("::1", "", ("203.0.113.9", "https")),
        ("10.1.2.3", "10.0.0.5, 10.1.0.0/16", ("203.0.113.9", "https")),
        ("10.2.2.3", "10.0.0.5, 10.1.0.0/16", ("10.2.2.3", "http")),
        ("198.51.100.7", "", ("198.51.100.7", "http")),
    ],
)
async def test_a_proxy_is_believed_where_it_is_listed(address: str, proxies: str, expected: tuple[str, str]) -> None:
    assert await seen_from(address, Settings(trusted_proxies=proxies)) == expected
