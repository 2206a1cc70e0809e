"""Connections are cut: a tunnel, a refresh, a deploy. A tail comes back with its last offset and misses nothing.

The offset of the last entry you have goes into the `Last-Event-ID` header. A browser's EventSource sends it by
itself, and so does `midstream.Midstream`.
"""

from contextlib import aclosing
from pathlib import Path

import httpx2

from midstream.client.client import Midstream
from tests import sse
from tests.system import System, stop

STORY = {"model": "demo/story", "input": "Tell me a story.", "chunking": {"flush_ms": 0}}


async def test_a_cut_at_any_entry_resumes_after_it(http: httpx2.AsyncClient) -> None:
    """Wherever the connection broke: what you had, and what comes after it, make up the whole."""
    stream_id = (await http.post("/v1/streams", json=STORY)).json()["id"]
    whole = await sse.tail(http, stream_id)

    for cut in range(1, len(whole)):
        rest = await sse.tail(http, stream_id, after=cut)  # sends `Last-Event-ID: <cut>`
        assert whole[:cut] + rest == whole


async def test_a_live_stream_is_cut_and_resumed_in_the_midst_of_it(http: httpx2.AsyncClient) -> None:
    """It makes no difference whether the generation still runs: replay and follow are one reading."""
    slow = {**STORY, "params": {"delay_ms": 5}}
    stream_id = (await http.post("/v1/streams", json=slow)).json()["id"]

    seen: list[sse.Event] = []
    async with http.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
        async for event in sse.parse(answer):
            seen.append(event)
            if len(seen) == 10:
                break  # the train enters the tunnel
    seen += await sse.tail(http, stream_id, after=seen[-1].id)

    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    assert seen == await sse.tail(http, stream_id)


async def test_there_is_nothing_after_the_end(http: httpx2.AsyncClient) -> None:
    """A client that has the end is answered 204, which is how an EventSource is told to stay away."""
    stream_id = (await http.post("/v1/streams", json=STORY)).json()["id"]
    last = (await sse.tail(http, stream_id))[-1]

    answer = await http.get(f"/v1/streams/{stream_id}/events", headers={"Last-Event-ID": str(last.id)})

    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_cursor_from_another_history_is_told_to_reset(http: httpx2.AsyncClient) -> None:
    """A server that lost power may have lost its newest second. Who read it is told, not served a mixture."""
    stream_id = (await http.post("/v1/streams", json=STORY)).json()["id"]
    whole = await sse.tail(http, stream_id)

    reset, *rest = await sse.tail(http, stream_id, after=10_000)

    assert (reset.type, reset.data["reason"]) == ("reset", "cursor_ahead")
    assert rest == whole


async def test_the_python_client_survives_a_deploy(redis_url: str, queue_road: dict[str, str], tmp_path: Path) -> None:
    """The broker that serves the tail is stopped and another one is started. The loop over `tail` just goes on."""
    async with System(redis_url, tmp_path, demo_delay_ms=20, **queue_road) as system:
        await system.start()
        async with Midstream(system.url) as midstream:
            stream = await midstream.start("Tell me a story.", model="demo/story")

            offsets = []
            async with aclosing(midstream.tail(stream["id"])) as entries:
                async for entry in entries:
                    offsets.append(entry.offset)
                    if entry.offset == 5:
                        await stop(system.brokers[0])
                        await system.start_broker()

            ended = await midstream.state(stream["id"])
    assert offsets == list(range(1, ended["tail"] + 1))
    assert ended["outcome"] == "completed"
