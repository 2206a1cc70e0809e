"""Any number of readers, one generation. Tails cost the provider nothing: they read the log, never the model."""

import asyncio

import httpx2

from midstream.client.client import Midstream
from midstream.testing.provider.script import Script, directive
from tests import sse
from tests.provider.client import ProviderServer


async def test_tabs_opened_at_many_moments_see_the_same(http: httpx2.AsyncClient, provider: ProviderServer) -> None:
    """A reader who comes late is replayed what it missed, and then follows with the others."""
    script = Script(words=60, delay_ms=5)
    start = {"model": "openai/gpt-test", "input": directive(script), "chunking": {"flush_ms": 0}}
    stream_id = (await http.post("/v1/streams", json=start)).json()["id"]

    tabs = []
    async with http.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
        async for event in sse.parse(answer):
            if event.id % 2 == 0 and event.id <= 20:  # every other entry somebody opens another tab
                tab = asyncio.create_task(sse.tail(http, stream_id))
                tabs.append(tab)
    seen = [await tab for tab in tabs]

    assert len(seen) >= 3
    assert all(events == seen[0] for events in seen)
    assert sse.text(seen[0]) == script.text()
    assert len(await provider.calls()) == 1


async def test_a_finished_answer_is_there_until_its_time_is_over(
    midstream: Midstream, provider: ProviderServer
) -> None:
    """A tail of an ended stream is a replay; `ttl_s` (MIDSTREAM_RETENTION_S by default) says how long it is kept."""
    script = Script(words=8)
    stream = await midstream.start(directive(script), model="openai/gpt-test", ttl_s=600)
    await midstream.state(stream["id"], wait_s=10)

    for _ in range(3):
        entries = [entry async for entry in midstream.tail(stream["id"])]
        assert "".join(entry.data["text"] for entry in entries if entry.type == "text") == script.text()
    assert len(await provider.calls()) == 1
