"""What an operator asks: which streams are there, what is in this one, make it go away.

The command line (`midstream ls`, `show`, `log`, `cancel`, `rm`, `audit`) asks by the same doors.
"""

import httpx2
import pytest

from midstream.client.client import Midstream, MidstreamError


async def test_list_newest_first_and_by_what_they_have_in_common(midstream: Midstream) -> None:
    """`thread` and `metadata` are the caller's own words. A list can be filtered by thread, status and outcome."""
    for thread in ("tea", "tea", "coffee"):
        stream = await midstream.start("Count.", model="demo/count", thread=thread, metadata={"user": "ada"})
        await midstream.state(stream["id"], wait_s=10)

    tea = await midstream.list(thread="tea", status="completed")
    newest = await midstream.list(limit=1)

    assert [row["thread"] for row in tea["data"]] == ["tea", "tea"]
    assert [row["thread"] for row in newest["data"]] == ["coffee"]
    assert newest["next_cursor"] is not None  # hand it in as `cursor` for the page after
    assert (await midstream.state(stream["id"]))["metadata"] == {"user": "ada"}


async def test_read_the_log_page_by_page(midstream: Midstream) -> None:
    """`GET …/entries` is the log as JSON, for people and programs that inspect rather than follow."""
    stream = await midstream.start("Tell me a story.", model="demo/story", chunking={"flush_ms": 0})
    ended = await midstream.state(stream["id"], wait_s=10)

    offsets, page = [], await midstream.entries(stream["id"], limit=20)
    while page:
        offsets += [entry.offset for entry in page]
        page = await midstream.entries(stream["id"], after=offsets[-1], limit=20)

    assert offsets == list(range(1, ended["tail"] + 1))


async def test_wait_without_streaming(http: httpx2.AsyncClient) -> None:
    """`?wait=` gives up after its seconds, and says truthfully that it is still running."""
    slow = {"model": "demo/count", "input": "Count.", "params": {"delay_ms": 50, "words": 1_000}}
    stream_id = (await http.post("/v1/streams", json=slow)).json()["id"]

    waited = (await http.get(f"/v1/streams/{stream_id}", params={"wait": 0.3})).json()
    assert (waited["status"], waited["outcome"]) == ("running", None)
    assert waited["output"]["text"].startswith("[demo]")  # what there is so far

    await http.post(f"/v1/streams/{stream_id}/cancel")


@pytest.mark.leaves("a refused start is on the reaper's list until its next look", keys=["ms:due"])
async def test_delete_forgets_and_nothing_brings_it_back(midstream: Midstream, http: httpx2.AsyncClient) -> None:
    """A deleted stream is gone at once, and its idempotency key can not start it a second time."""
    stream = await midstream.start("Count.", model="demo/count", idempotency_key="once")
    await midstream.state(stream["id"], wait_s=10)

    await midstream.delete(stream["id"])

    with pytest.raises(MidstreamError) as refused:
        await midstream.state(stream["id"])
    assert (refused.value.status, refused.value.code) == (404, "stream_not_found")
    with pytest.raises(MidstreamError) as refused:
        await midstream.start("Count.", model="demo/count", idempotency_key="once")
    assert (refused.value.status, refused.value.code) == (410, "stream_deleted")
    assert (await http.get("/v1/streams")).json()["data"] == []


async def test_what_there_is_and_whether_it_is_well(midstream: Midstream, http: httpx2.AsyncClient) -> None:
    """`/v1/models` lists what can be asked for; `/readyz` answers while the log does."""
    assert "demo/story" in [model["id"] for model in await midstream.models()]
    assert (await http.get("/readyz")).status_code == 200


async def test_act_on_all_that_fits(midstream: Midstream) -> None:
    """An operator counts first, acts on what was counted, and leaves a row in the audit (PROTOCOL: Operators)."""
    slow = {"delay_ms": 1_000, "words": 1_000}
    stuck = [await midstream.start("Count.", model="demo/count", params=slow, thread="stuck") for _ in range(2)]
    order = {"act": "cancel", "where": {"thread": "stuck", "status": ["queued", "running"]}}

    count = (await midstream.operate("acts", "POST", json=order | {"dry_run": True}))["count"]
    result = await midstream.operate("acts", "POST", json=order | {"expect": count})

    assert (count, result["done"], result["refused"]) == (2, 2, {})
    assert [(await midstream.state(each["id"], wait_s=10))["outcome"] for each in stuck] == ["cancelled"] * 2
    assert (await midstream.operate("audit"))["data"][-1]["done"] == 2
