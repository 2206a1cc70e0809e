"""A stream is the durable log of one generation. You start it, and then you tail it.

Starting and tailing are two requests. The first one hands the generation to a worker and answers at once; the
second one reads the log that the worker writes. Nothing about the generation hangs on either connection.
"""

import httpx2

from midstream.client.client import Midstream

COUNT_TO_TEN = {"model": "demo/count", "input": "Count, please.", "params": {"words": 10}}


async def test_a_start_answers_at_once_and_names_the_stream(http: httpx2.AsyncClient) -> None:
    """`POST /v1/streams` takes a model and a prompt. The answer says where the stream is to be found."""
    answer = await http.post("/v1/streams", json=COUNT_TO_TEN)

    assert answer.status_code == 201
    stream_id = answer.json()["id"]
    assert answer.headers["location"] == f"/v1/streams/{stream_id}"

    # `?wait=` is the way without streaming: it answers when the generation has ended, with its output.
    ended = (await http.get(answer.headers["location"], params={"wait": 10})).json()
    assert ended["outcome"] == "completed"
    assert ended["output"]["text"].endswith("1 2 3 4 5 6 7 8 9 10 ")


async def test_a_tail_is_server_sent_events(http: httpx2.AsyncClient) -> None:
    """`GET …/events` sends one frame per entry: its offset as `id`, its type as `event`, and its data as JSON.

    Read/Frames.
    """
    stream_id = (await http.post("/v1/streams", json=COUNT_TO_TEN)).json()["id"]

    answer = await http.get(f"/v1/streams/{stream_id}/events")

    assert answer.headers["content-type"].startswith("text/event-stream")
    hint, first, *_, last, nothing = answer.text.split("\n\n")
    assert hint == "retry: 1000"  # what an EventSource waits before it comes back
    assert first == 'id: 1\nevent: start\ndata: {"type":"start","epoch":1,"model":"demo/count"}'
    assert "\nevent: end\n" in last
    assert nothing == ""


async def test_offsets_are_dense_and_the_last_entry_is_the_end(midstream: Midstream) -> None:
    """Offsets count 1, 2, 3, … without a gap. `start` comes first, `end` comes last, and there is one `end`. I1, I3."""
    stream = await midstream.start("Count, please.", model="demo/count", params={"words": 10})

    entries = [entry async for entry in midstream.tail(stream["id"])]

    assert [entry.offset for entry in entries] == list(range(1, len(entries) + 1))
    types = [entry.type for entry in entries]
    assert (types[0], types[-1], types.count("end")) == ("start", "end", 1)
    assert entries[-1].data["outcome"] == "completed"


async def test_one_request_can_do_both(http: httpx2.AsyncClient) -> None:
    """With `"stream": true` the start itself answers with the events. `Stream-Id` names the stream for later."""
    answer = await http.post("/v1/streams", json={**COUNT_TO_TEN, "stream": True})

    again = await http.get(f"/v1/streams/{answer.headers['stream-id']}/events")
    assert answer.text == again.text
