"""A program of the user's own as a producer, by Redis: with the writer, fence and lease of a worker."""

import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

import midstream
from midstream.attempts.app_items import UnfitItemError
from midstream.settings import Settings
from tests import inside
from tests.sse import parse

SECRET = "swordfish"
PAGE = Path(__file__).parents[2] / "docs/produce.md"


pytestmark = pytest.mark.usefixtures("client")


@pytest.fixture
async def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    monkeypatch.setenv("MIDSTREAM_REDIS_URL", settings.redis_address)
    monkeypatch.setenv("MIDSTREAM_LEASE_MS", str(settings.lease_ms))
    monkeypatch.setenv("MIDSTREAM_FLUSH_MS", str(settings.flush_ms))
    async with inside.broker(settings) as client:
        yield client


async def state_of(client: httpx2.AsyncClient, stream_id: str, wait_s: float = 5) -> dict[str, Any]:
    state: dict[str, Any] = (await client.get(f"/v1/streams/{stream_id}", params={"wait": wait_s})).json()
    return state


async def test_a_block_is_a_stream(client: httpx2.AsyncClient, redis: Redis) -> None:
    """Produce/Block."""
    async with midstream.produce(thread="t1", user="ada", model="external/agent", input="Why?") as out:
        await out.reasoning("Hm.")
        await out.text("Because \ud83d")
        await out.text("\ude00")
        await out.tool_input("c1", "look", '{"at"')
        await out.tool_call("c1", "look", {"at": "sky"})
        await out.tool_result("c1", {"colour": "blue"})
        await out.source(url="https://example.org")
        await out.file(url="https://example.org/sky.png", media_type="image/png")
        await out.data("mood", value=3)
        await out.write("!")
        await out.usage(3, 5, reasoning_tokens=1)
        running = (await client.get(f"/v1/streams/{out.id}")).json()
        listed = (await client.get("/v1/streams", params={"thread": "t1"})).json()["data"]
        out.finish("length")
    assert (running["status"], running["model"], running["epoch"]) == ("running", "external/agent", 1)
    assert [row["id"] for row in listed] == [out.id]
    state = await state_of(client, out.id)
    assert (state["outcome"], state["finish_reason"], state["output"]["text"]) == ("completed", "length", "Because 😀!")
    assert state["usage"]["output_tokens"] == 5
    assert (state["messages"], state["on_worker_loss"]) == ([{"role": "user", "content": "Why?"}], "external")
    entries = (await client.get(f"/v1/streams/{out.id}/entries")).json()["data"]
    kinds = ["start", "reasoning", "text", "tool_input", "tool_call", "tool_result", "source", "file", "data", "text"]
    assert [entry["type"] for entry in entries] == [*kinds, "usage", "end"]
    assert await redis.zcard("ms:queue") == 0
    assert not out.cancelled


async def test_the_first_piece_is_read_before_the_next_one(client: httpx2.AsyncClient) -> None:
    async with midstream.produce() as out:
        await out.text("first")
        async with client.stream("GET", f"/v1/streams/{out.id}/events") as events:
            async for event in parse(events):
                if event.type == "text":
                    break
        assert event.data["text"] == "first"


async def test_of_producers_with_one_key_one_appends(client: httpx2.AsyncClient) -> None:
    """Produce/Once."""
    appended = []

    async def produced() -> str:
        try:
            async with midstream.produce(key="order-77") as out:
                appended.append(out.id)
                await out.text("once")
        except midstream.ProduceError as error:
            return f"{error.code} {error.stream_id}"
        return out.id

    answers = Counter(await asyncio.gather(*(produced() for _ in range(10))))
    (stream_id,) = appended
    assert answers == {stream_id: 1, f"already_produced {stream_id}": 9}
    assert await produced() == f"already_produced {stream_id}"
    assert (await state_of(client, stream_id))["output"]["text"] == "once"
    start = {"producer": "external", "input": "another body"}
    answer = await client.post("/v1/streams", json=start, headers={"Idempotency-Key": "order-77"})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    answer = await client.post("/v1/streams", json={"producer": "external"}, headers={"Idempotency-Key": "order-77"})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_produced")
    with pytest.raises(midstream.ProduceError, match="idempotency_mismatch"):
        await midstream.produce(key="order-77", thread="another").__aenter__()


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (ValueError(SECRET), "failed", "source_error"),
        (asyncio.CancelledError(), "interrupted", "producer_lost"),
        (KeyboardInterrupt(), "interrupted", "producer_lost"),
        (TimeoutError(SECRET), "failed", "source_error"),
    ],
)
async def test_a_block_that_raises(client: httpx2.AsyncClient, error: BaseException, outcome: str, code: str) -> None:
    """Produce/Ends."""
    with pytest.raises(type(error)):  # noqa: PT012 - a block is what is tested
        async with midstream.produce() as out:
            await out.text("so far")
            raise error
    state = await state_of(client, out.id)
    assert (state["outcome"], state["error"]["code"], state["output"]["text"]) == (outcome, code, "so far")
    assert SECRET not in str(state)
    assert code != "source_error" or type(error).__name__ in state["error"]["message"]


async def test_a_cancelled_task_ends_its_stream(client: httpx2.AsyncClient) -> None:
    """Produce/Ends."""
    ids: asyncio.Queue[str] = asyncio.Queue()

    async def hang() -> None:
        async with midstream.produce() as out:
            await ids.put(out.id)
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    stream_id = await ids.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await state_of(client, stream_id))["outcome"] == "interrupted"


async def test_a_cancel_ends_the_stream_and_leaves_the_block(client: httpx2.AsyncClient) -> None:
    """Produce/Cancel."""
    began_s = time.monotonic()
    async with midstream.produce() as out:
        await out.text("so far")
        assert (await client.post(f"/v1/streams/{out.id}/cancel")).status_code == 202
        assert (await state_of(client, out.id))["outcome"] == "cancelled"
        await out.text("too late")
        raise AssertionError("not reached")
    assert out.cancelled
    assert time.monotonic() - began_s < 1.0
    assert (await state_of(client, out.id))["output"]["text"] == "so far"


async def test_a_deleted_stream_takes_nothing_more(client: httpx2.AsyncClient) -> None:
    """Produce/Cancel."""
    async with midstream.produce() as out:
        await out.text("so far")
        await client.delete(f"/v1/streams/{out.id}")
    assert out.cancelled
    assert (await client.get(f"/v1/streams/{out.id}")).status_code == 404


async def test_an_item_that_does_not_fit_is_refused_where_it_is_written(client: httpx2.AsyncClient) -> None:
    """Produce/Items."""
    async with midstream.produce() as out:
        with pytest.raises(UnfitItemError, match="`kind` is of type int"):
            await out.data(5)  # type: ignore[arg-type]
        with pytest.raises(UnfitItemError, match="no JSON"):
            await out.tool_result("c1", object())
        with pytest.raises(ValueError, match="a reason is one of"):
            out.finish("because")  # type: ignore[arg-type]
        await out.text("all the same")
    assert [entry["type"] for entry in (await client.get(f"/v1/streams/{out.id}/entries")).json()["data"]] == [
        *("start", "text", "end")
    ]


@pytest.mark.parametrize(
    ("variable", "value", "timeout_s", "code"),
    [
        ("MAX_OUTPUT_BYTES", "1024", None, "output_too_large"),
        ("GENERATION_TIMEOUT_S", "0.05", None, "generation_timeout"),
        ("GENERATION_TIMEOUT_S", "60", 0.05, "generation_timeout"),
    ],
)
async def test_a_limit_ends_the_block(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, timeout_s: float, code: str
) -> None:
    """Produce/Ends, Sources/Time."""
    monkeypatch.setenv(f"MIDSTREAM_{variable}", value)
    with pytest.raises(midstream.ProduceError, match=code):  # noqa: PT012
        async with midstream.produce(generation_timeout_s=timeout_s) as out:
            while True:
                await out.text("x" * 100)
                await asyncio.sleep(0.002)
    state = await state_of(client, out.id)
    assert (state["outcome"], state["error"]["code"]) == ("failed", code)


async def test_starts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Produce/Refused."""
    monkeypatch.setenv("MIDSTREAM_USER_GENERATIONS", "1")
    async with midstream.produce(user="ada", key="a"):
        with pytest.raises(midstream.ProduceError, match="limit_exceeded") as caught:
            await midstream.produce(user="ada").__aenter__()
        assert caught.value.retry_after_s == 1
        async with midstream.produce(user="bob"):
            pass
    async with midstream.produce(user="ada"):
        pass


async def test_without_a_server_nothing_starts() -> None:
    """Produce/Refused."""
    with pytest.raises(midstream.ProduceError) as caught:
        await midstream.produce("redis://127.0.0.1:1").__aenter__()
    assert caught.value.code == "log_unavailable"


async def test_a_blocked_loop_keeps_its_lease(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Produce/Lease."""
    async with midstream.produce() as out:
        await out.text("so far")
        await asyncio.sleep(0.05)
        time.sleep(2.2 * settings.lease_ms / 1000)  # noqa: ASYNC251 - what a program should not do
        await out.text(", and on")
    assert (await state_of(client, out.id))["output"]["text"] == "so far, and on"


async def test_a_loop_that_is_blocked_for_too_long_loses_its_streams(
    client: httpx2.AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Produce/Lease, Produce/Lost."""
    monkeypatch.setenv("MIDSTREAM_APP_BLOCK_S", "1")
    with pytest.raises(midstream.ProduceError, match="producer_lost"):  # noqa: PT012
        async with midstream.produce() as out:
            await out.text("so far")
            time.sleep(1.7)  # noqa: ASYNC251
            await asyncio.sleep(0.05)
    state = await state_of(client, out.id)
    assert (state["outcome"], state["error"]["code"]) == ("interrupted", "producer_lost")
    async with midstream.produce() as out:
        await asyncio.sleep(1.5 * settings.lease_ms / 1000)
    assert (await state_of(client, out.id))["outcome"] == "completed"


async def test_a_process_that_dies_is_lost_in_time(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Produce/Ends, I3."""
    program = """
import asyncio, midstream
async def main():
    async with midstream.produce() as out:
        await out.text("so far")
        print(out.id, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert process.stdout is not None
    stream_id = (await process.stdout.readline()).decode().strip()
    while not (state := await state_of(client, stream_id, 0))["output"]["text"]:
        await asyncio.sleep(0.01)
    await asyncio.sleep(1.5 * settings.lease_ms / 1000)  # the lease is kept meanwhile
    operated = f"/v1/operate/streams/default/{stream_id}"
    assert f":{process.pid} is writing it: 2 entries so far." in (await client.get(operated)).json()["why"]
    killed_s = time.monotonic()
    process.kill()
    await process.wait()
    state = await state_of(client, stream_id)
    assert (state["outcome"], state["error"]["code"]) == ("interrupted", "producer_lost")
    assert state["output"]["text"] == "so far"
    assert time.monotonic() - killed_s < settings.lease_ms / 1000 + 1
    assert "its producer, a program outside midstream, was lost" in (await client.get(operated)).json()["why"]
    requeued = await client.post(f"{operated}/requeue", json={})
    assert (requeued.status_code, requeued.json()["code"]) == (409, "external_producer")


async def test_the_page_works_as_printed(client: httpx2.AsyncClient) -> None:
    async def my_agent(question: str) -> AsyncIterator[str]:
        yield f"{question} "
        yield "Because."

    async def my_model(question: str) -> str:
        return question

    page: dict[str, Any] = {"my_agent": my_agent, "my_model": my_model, "my_blocking_agent": str.split}
    for snippet in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec("import midstream\n" + snippet, page)  # noqa: S102 - our own page
    await page["answer"]("Why?")
    (row,) = (await client.get("/v1/streams", params={"thread": "t1"})).json()["data"]
    assert (await state_of(client, row["id"]))["output"]["text"] == "Why? Because."
    await asyncio.to_thread(page["answer_in_a_thread"], "In a thread")
    (threaded,) = (await client.get("/v1/streams", params={"thread": "t2"})).json()["data"]
    assert (await state_of(client, threaded["id"]))["output"]["text"] == "Inathread"
    stream_id = await page["once"]("Who?")
    assert await page["once"]("Who?") == stream_id != row["id"]


def test_what_is_imported_when() -> None:
    """Produce/Imports."""
    program = """
import sys, midstream
print([name for name in ("redis", "httpx2", "pydantic", "midstream.client", "midstream.producer") if name in sys.modules])
midstream.produce
print([name for name in ("arq", "fastapi", "openai", "httpx2", "midstream_worker") if name in sys.modules])
"""  # noqa: E501
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
