"""The growing value of an answer in JSON, and tails at a pace, over HTTP (PROTOCOL: Structured/Partial, Read/Pace)."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest

from midstream.settings import Settings
from tests import inside
from tests.sse import tail, text

DOCUMENT = {"name": "Ada é😀", "ages": [1, 22, 333], "more": {"nothing": None, "yes": True, "quote": 'a "b"\n'}}
WHOLE = orjson.dumps(DOCUMENT).decode()
JSON = {"partial": "json"}


async def answers(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    for at in range(0, len(WHOLE), 3):
        yield WHOLE[at : at + 3]
        await asyncio.sleep(0.001)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    run = settings.model_copy(update={"apps": {"own": f"{__name__}:answers"}, "flush_ms": 0, "heartbeat_ms": 50})
    async with inside.worker(run), inside.broker(run) as client:
        yield client


@pytest.fixture
async def stream_id(client: httpx2.AsyncClient) -> str:
    body = {"model": "app/own", "input": "Hi", "params": {"response_format": {"type": "json_object"}}}
    started: str = (await client.post("/v1/streams", json=body)).json()["id"]
    await client.get(f"/v1/streams/{started}", params={"wait": 5})
    return started


async def test_each_frame_has_a_valid_value_and_any_cursor_goes_on(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Structured/Partial, Structured/End. I5."""
    plain, events = await tail(client, stream_id), await tail(client, stream_id, params=JSON)
    partials = [event.data["partial"] for event in events if "partial" in event.data]
    assert len(partials) > 10
    assert all(set(partial) <= set(DOCUMENT) for partial in partials)
    assert (partials[-1], events[-1].data["parsed"]) == (DOCUMENT, DOCUMENT)
    assert [(event.id, event.type) for event in events] == [(event.id, event.type) for event in plain]
    assert text(events) == WHOLE
    for event in events[:-1]:
        assert await tail(client, stream_id, event.id, JSON) == events[event.id :]


async def test_the_ai_sdk_is_sent_data_parts_and_any_cursor_goes_on(client: httpx2.AsyncClient) -> None:
    """Structured/Partial."""
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
    body = {"id": "c1", "model": "app/own", "messages": [message]}
    frames = (await client.post("/api/chat", json=body, params=JSON)).text.split("\n\n")
    parts = [orjson.loads(line[6:]) for frame in frames for line in frame.split("\n") if line.startswith("data: {")]
    objects = [part for part in parts if part["type"] == "data-object"]
    assert len(objects) > 10
    assert {part["id"] for part in objects} == {"object"}
    assert objects[-1]["data"] == DOCUMENT
    assert "".join(part["delta"] for part in parts if part["type"] == "text-delta") == WHOLE
    numbers = [number for number, frame in enumerate(frames) if frame.startswith("id: ")]
    for number in numbers[3:-1:7]:
        cursor = frames[number].split("\n")[0].removeprefix("id: ")
        resumed = await client.get("/api/chat/c1/stream", params=JSON, headers={"Last-Event-ID": cursor})
        rest = [frame for frame in resumed.text.split("\n\n") if frame.strip(":\n") and "data-replay" not in frame]
        assert rest == [frame for frame in frames[number + 1 :] if frame.strip(":\n")]


async def test_a_paced_tail_waits_and_no_other_one(client: httpx2.AsyncClient, stream_id: str) -> None:
    """Read/Pace, Read/Heartbeat."""
    began_s, pace = time.monotonic(), {"pace": f"{len(WHOLE) / 0.6:.1f}"}

    async def lines(params: dict[str, str]) -> tuple[str, float]:
        answer = await client.get(f"/v1/streams/{stream_id}/events", params=params)
        return answer.text, time.monotonic() - began_s

    (paced, paced_s), (stopped, stopped_s), (plain, plain_s) = await asyncio.gather(
        lines(pace), lines({**pace, "follow": "false", "after": "2"}), lines({})
    )
    assert plain_s < 0.4 < paced_s
    assert stopped_s > 0.4
    assert paced.replace(":\n\n", "") == plain
    assert plain.endswith(stopped.replace(":\n\n", "").partition("\n\n")[2])
    got = b""
    async with client.stream("GET", f"/v1/streams/{stream_id}/events", params={"pace": "1"}) as slow:
        async for part in slow.aiter_bytes():
            got += part
            if b"event: text" in got and part == b":\n\n":
                break
    assert got.count(b"event: text") == 1
    events = await tail(client, stream_id)
    assert await tail(client, stream_id, len(events) // 2, {"pace": "100000"}) == events[len(events) // 2 :]


@pytest.mark.parametrize(("name", "value"), [("partial", "xml"), ("pace", "0"), ("pace", "1e9"), ("pace", "nan")])
async def test_what_does_not_fit_is_refused(client: httpx2.AsyncClient, name: str, value: str) -> None:
    """Structured/Partial, Read/Pace."""
    answer = await client.get("/v1/streams/none/events", params={name: value})
    assert answer.status_code == 400
    assert [error["at"] for error in answer.json()["errors"]] == [f"query.{name}"]
