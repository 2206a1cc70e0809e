"""Leaving is not stopping. A disconnect never touches a generation; a cancel ends it, for everybody."""

import asyncio

import httpx2

from midstream.testing.provider.script import Script, directive
from tests import sse
from tests.provider.client import ProviderServer


async def test_everybody_leaves_and_the_generation_goes_on(http: httpx2.AsyncClient, provider: ProviderServer) -> None:
    """The only reader closes its tab. Who comes back later finds the answer finished."""
    script = Script(words=40, delay_ms=5)
    start = {"model": "anthropic/claude-test", "input": directive(script), "chunking": {"flush_ms": 0}, "stream": True}
    async with http.stream("POST", "/v1/streams", json=start) as answer:
        stream_id = answer.headers["stream-id"]
        async for event in sse.parse(answer):
            if event.type == "text":
                break

    assert (await provider.ended())["connection"] == "completed"
    later = await sse.tail(http, stream_id)
    assert sse.text(later) == script.text()
    assert later[-1].data["outcome"] == "completed"


async def test_a_cancel_ends_every_tail_and_the_call_to_the_provider(
    http: httpx2.AsyncClient, provider: ProviderServer
) -> None:
    """`POST …/cancel` stops the worker, which closes its connection to the provider: nothing more is generated."""
    start = {"model": "anthropic/claude-test", "input": directive(Script(words=2_000, delay_ms=20))}
    stream_id = (await http.post("/v1/streams", json=start)).json()["id"]
    tails = [asyncio.create_task(sse.tail(http, stream_id)) for _ in range(3)]
    await provider.begun()

    answer = await http.post(f"/v1/streams/{stream_id}/cancel")

    assert answer.status_code == 202
    assert {(await tail)[-1].data["outcome"] for tail in tails} == {"cancelled"}
    call = await provider.ended()
    assert call["connection"] == "client_closed"
    assert call["steps_sent"] < 2_000


async def test_a_cancel_may_come_too_late_or_twice(http: httpx2.AsyncClient) -> None:
    """A stream that has ended stays as it ended."""
    start = {"model": "demo/count", "input": "Count.", "params": {"words": 3}}
    stream_id = (await http.post("/v1/streams", json=start)).json()["id"]
    await http.get(f"/v1/streams/{stream_id}", params={"wait": 10})

    for _ in range(2):
        answer = await http.post(f"/v1/streams/{stream_id}/cancel")
        assert (answer.status_code, answer.json()["outcome"]) == (202, "completed")
