"""`GET …/events` has two ways in; both answer alike (PROTOCOL: Reading)."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from midstream.settings import Settings
from tests import inside

START = {"model": "demo/count", "input": "count", "params": {"words": 12}}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield client


@pytest.fixture
async def stream_id(client: httpx2.AsyncClient) -> str:
    """A stream that has ended."""
    stream_id: str = (await client.post("/v1/streams", json=START)).json()["id"]
    await client.get(f"/v1/streams/{stream_id}", params={"wait": 10})
    return stream_id


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("{id}/events", {}),
        ("{id}/events?after=3", {}),
        ("{id}/events?after=3", {"last-event-id": "5"}),
        ("{id}/events?after=x", {}),
        ("{id}/events?after=999", {}),
        ("none/events", {}),
    ],
)
async def test_the_fast_lane_answers_as_the_road_does(
    client: httpx2.AsyncClient, stream_id: str, path: str, headers: dict[str, str]
) -> None:
    url = f"/v1/streams/{path.format(id=stream_id)}"
    fast = await client.get(url, headers=headers)
    # Pages of another origin are sent along the road: the app has rules for them.
    road = await client.get(url, headers={**headers, "origin": "http://elsewhere.example"})
    assert (fast.status_code, fast.content) == (road.status_code, road.content)
    assert fast.headers["content-type"] == road.headers["content-type"]
