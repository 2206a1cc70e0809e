"""`GET …/events` bypasses FastAPI, but not the rules for all requests. PROTOCOL: Read/Events, Http/Cors."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from midstream.settings import Settings
from tests import inside
from tests.contract.new_streams import ended_stream

pytestmark = pytest.mark.both_ways

PAGE = "https://page.example"


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    open_to_page = settings.model_copy(update={"cors_origins": PAGE})
    async with inside.worker(open_to_page), inside.broker(open_to_page) as client:
        yield client


@pytest.fixture
async def stream_id(client: httpx2.AsyncClient) -> str:
    return await ended_stream(client, words=12)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("{id}/events", {}, 200),
        ("{id}/events?after=3", {"last-event-id": "5"}, 200),
        ("{id}/events?follow=no", {}, 200),
        ("{id}/events?after=x", {}, 400),
        ("{id}/events?follow=maybe", {}, 400),
        ("{id}/events?after=999", {}, 200),
        ("none/events", {}, 404),
    ],
)
async def test_pages_of_other_origins_and_programs_are_answered_alike(
    client: httpx2.AsyncClient, stream_id: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Http/Cors, Http/Request ids."""
    url = f"/v1/streams/{path.format(id=stream_id)}"
    program = await client.get(url, headers=headers)
    page = await client.get(url, headers={**headers, "origin": PAGE})
    assert program.status_code == page.status_code == status
    assert program.content == page.content
    assert page.headers["access-control-allow-origin"] == PAGE
    assert "stream-id" in page.headers["access-control-expose-headers"].lower()
    assert program.headers["x-request-id"] != page.headers["x-request-id"]


async def test_a_wrong_parameter_is_named(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Errors/Codes."""
    answer: dict[str, Any] = (await client.get(f"/v1/streams/{stream_id}/events?follow=maybe")).json()
    assert answer["code"] == "bad_request"
    assert [error["at"] for error in answer["errors"]] == ["query.follow"]


async def test_other_methods_are_refused_and_the_endpoint_is_described(
    client: httpx2.AsyncClient, stream_id: str
) -> None:
    """Read/Events."""
    for method in ("HEAD", "POST", "DELETE"):
        answer = await client.request(method, f"/v1/streams/{stream_id}/events")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    described = (await client.get("/openapi.json")).json()["paths"]["/v1/streams/{stream_id}/events"]["get"]
    assert [one["name"] for one in described["parameters"]] == [
        "stream_id",
        "last-event-id",
        "after",
        "follow",
        "steps",
        "partial",
        "catchup",
        "pace",
    ]
