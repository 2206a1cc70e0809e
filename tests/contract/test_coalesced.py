"""What is logged before a client comes, in merged entries, at every door that sends them. PROTOCOL: Read/Coalesced."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest

from midstream.settings import Settings
from tests import inside
from tests.contract.new_streams import ended_stream

WORDS = 12


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield client


@pytest.fixture
async def stream_id(client: httpx2.AsyncClient) -> str:
    return await ended_stream(client, words=WORDS)


async def events(client: httpx2.AsyncClient, path: str, **query: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return the entries that a request is sent, with the ids of their frames."""
    answer = await client.get(path, params=query)
    assert answer.status_code in (200, 204), answer.text
    frames = [dict(line.split(": ", 1) for line in frame.splitlines()) for frame in answer.text.split("\n\n") if frame]
    return [(int(frame["id"]), orjson.loads(frame["data"])) for frame in frames if "data" in frame]


def text_of(sent: list[tuple[int, dict[str, Any]]]) -> str:
    return "".join(entry["text"] for _, entry in sent if entry["type"] == "text")


@pytest.mark.both_ways
async def test_all_cursors_lead_to_the_same_text(client: httpx2.AsyncClient, stream_id: str) -> None:
    """I5, Read/After: for all k, what came up to k and what comes after it, merged, are the log."""
    path = f"/v1/streams/{stream_id}/events"
    canonical = await events(client, path)
    for k in range(len(canonical) + 1):
        resumed = await events(client, path, after=k, catchup="coalesced", follow=k % 2)
        assert text_of(canonical[:k]) + text_of(resumed) == text_of(canonical)
        others = [entry for _, entry in canonical[k:] if entry["type"] != "text"]
        assert [entry for _, entry in resumed if entry["type"] != "text"] == others
        if k < len(canonical) - 2:
            assert len(resumed) == 1 + len(others)
    merged = await events(client, path, catchup="coalesced")
    for offset, _ in merged:
        later = [entry for entry in merged if entry[0] > offset]
        assert await events(client, path, after=offset, catchup="coalesced") == later
        assert text_of(await events(client, path, after=offset)) == text_of(later)


async def test_a_cursor_beyond_the_tail_is_reset_and_sent_merged_entries(
    client: httpx2.AsyncClient, stream_id: str
) -> None:
    """Read/Ahead."""
    path = f"/v1/streams/{stream_id}/events"
    (reset_id, reset), *merged = await events(client, path, after=999, catchup="coalesced")
    assert (reset_id, reset["reason"]) == (0, "cursor_ahead")
    assert merged == await events(client, path, catchup="coalesced")


@pytest.mark.parametrize(
    "query", ["catchup=all", "catchup=", "catchup=coalesced&pace=9000", "catchup=coalesced&partial=json"]
)
async def test_what_is_not_possible_is_refused(client: httpx2.AsyncClient, stream_id: str, query: str) -> None:
    answer = await client.get(f"/v1/streams/{stream_id}/events?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert [error["at"] for error in answer.json()["errors"]] == ["query.catchup"]
    plain = query.replace("coalesced", "plain")
    assert (await client.get(f"/v1/streams/{stream_id}/events?{plain}")).status_code == (
        200 if "plain" in plain else 400
    )
