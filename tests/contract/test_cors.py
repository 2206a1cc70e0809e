"""Pages of other origins, as their browsers ask (PROTOCOL: Http/Cors); a real browser does at tests/e2e."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from pydantic import ValidationError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from midstream.settings import Settings
from tests import inside, sse

OURS, THEIRS = "https://app.example", "https://evil.example"
REQUEST_HEADERS = (
    "last-event-id, idempotency-key, authorization, x-api-key, anthropic-version, x-stainless-lang, ai-sdk-major"
)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    listed = settings.model_copy(update={"cors_origins": f"{OURS}, http://localhost:3000"})
    async with inside.worker(listed), inside.broker(listed) as client:
        yield client


async def preflight(client: httpx2.AsyncClient, origin: str) -> httpx2.Response:
    preflight_headers = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": REQUEST_HEADERS}
    return await client.options("/v1/streams/x", headers={"Origin": origin, **preflight_headers})


async def test_a_listed_origin_may_ask_with_every_header_a_client_needs(client: httpx2.AsyncClient) -> None:
    allowed = await preflight(client, OURS)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == OURS
    assert allowed.headers["access-control-allow-headers"] == REQUEST_HEADERS
    assert "access-control-allow-credentials" not in allowed.headers
    refused = await preflight(client, THEIRS)
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (400, False)


async def test_what_is_streamed_and_what_is_refused_can_be_read(client: httpx2.AsyncClient) -> None:
    headers = {"Origin": OURS}
    started = await client.post("/v1/streams", json={"input": "x", "model": "demo/count"}, headers=headers)
    events = f"/v1/streams/{started.json()['id']}/events"
    async with client.stream("GET", events, headers=headers) as answer:
        assert answer.headers["access-control-allow-origin"] == OURS
        assert "Stream-Id" in answer.headers["access-control-expose-headers"]
        assert [event async for event in sse.parse(answer)][-1].type == "end"
    huge = await client.post("/v1/streams", content=b"x" * 2_000_000, headers=headers)
    missing = await client.get("/v1/streams/nobodys", headers=headers)
    for refusal, status in ((huge, 413), (missing, 404)):
        assert (refusal.status_code, refusal.headers["access-control-allow-origin"]) == (status, OURS)
    assert "access-control-allow-origin" not in (await client.get(events, headers={"Origin": THEIRS})).headers


async def test_no_page_starts_anything_without_being_asked_about_first(settings: Settings) -> None:
    async with inside.broker(settings) as client:
        assert (await preflight(client, THEIRS)).status_code == 405
        for path in ("/v1/streams", "/api/chat", "/v1/responses", "/v1/chat/completions", "/v1/messages"):
            for media_type in ("text/plain", "application/x-www-form-urlencoded", ""):  # what needs no preflight
                headers = {"Content-Type": media_type} if media_type else {}
                content = '{"input":"x","model":"demo/count"}'
                answer = await client.post(path, content=content, headers=headers)
                assert answer.status_code == 415, (path, media_type)
                answer = await client.post(path, content=content, headers=headers | {"Origin": THEIRS})
                assert answer.status_code == 403, (path, media_type)


@pytest.mark.parametrize(("origin", "code"), [(OURS, None), (THEIRS, 4403)])
async def test_a_socket_of_a_listed_origin_is_let_in(client: httpx2.AsyncClient, origin: str, code: int | None) -> None:
    url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/ws"
    async with connect(url, origin=Origin(origin)) as socket:
        if code is None:
            assert await socket.recv() == '{"type":"ready"}'
            return
        with pytest.raises(ConnectionClosed) as refused:
            await socket.recv()
    assert refused.value.rcvd is not None
    assert refused.value.rcvd.code == code


@pytest.mark.parametrize("origins", ["app.example", "https://app.example/", "https://*.example", "https://a, nonsense"])
def test_what_is_no_origin_is_told_at_once(origins: str) -> None:
    with pytest.raises(ValidationError, match="is not an origin"):
        Settings(cors_origins=origins)
