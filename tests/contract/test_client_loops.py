"""The Python client outlives its loops, and does without one: against a real broker and worker."""

import asyncio
import gc
import inspect
import itertools
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from midstream import sync
from midstream.client.client import Midstream
from midstream.settings import Settings
from tests import inside
from tests.contract.scripted_broker import SSE_HEAD, Exchange, frame, replay, scripted_broker

Result = TypeVar("Result")
ASK: dict[str, Any] = {"model": "demo/story", "params": {"words": 5}, "ttl_s": 60}


@pytest.fixture
async def url(settings: Settings) -> AsyncIterator[str]:
    async with inside.worker(settings), inside.broker(settings) as client:
        yield str(client.base_url)


async def elsewhere(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run a program in a thread that has no loop."""
    return await asyncio.to_thread(work, *arguments)


async def whole(midstream: Midstream) -> list[int]:
    stream = await midstream.start("hi", **ASK)
    return [entry.offset async for entry in midstream.tail(stream["id"])]


async def test_it_may_be_used_by_one_loop_after_another(url: str) -> None:
    def program() -> list[list[int]]:
        midstream = Midstream(url)
        return [asyncio.run(whole(midstream)) for _ in range(3)]

    for offsets in await elsewhere(program):
        assert offsets == list(range(1, len(offsets) + 1)) != []
    gc.collect()  # a connection that was left open warns now


async def test_it_may_be_used_by_two_loops_at_once(url: str) -> None:
    midstream = Midstream(url)
    for offsets in await asyncio.gather(whole(midstream), elsewhere(lambda: asyncio.run(whole(midstream)))):
        assert offsets == list(range(1, len(offsets) + 1)) != []
    await midstream.aclose()


async def test_it_may_be_used_again_when_it_was_closed(url: str) -> None:
    def program() -> None:
        midstream = Midstream(url)

        async def once() -> None:
            async with midstream:
                assert await midstream.models()

        asyncio.run(once())
        asyncio.run(once())

    await elsewhere(program)
    gc.collect()


async def test_without_a_loop(url: str) -> None:
    def program() -> None:
        with sync.Midstream(url) as midstream:
            stream_id = midstream.start("hi", thread="t", **ASK)["id"]
            entries = list(midstream.tail(stream_id))
            assert [entry.offset for entry in entries] == list(range(1, len(entries) + 1)) != []
            assert list(midstream.tail(stream_id, after=2)) == entries[2:]
            assert midstream.entries(stream_id, 0, 3) == entries[:3]
            assert midstream.state(stream_id, wait_s=10)["outcome"] == entries[-1].data["outcome"] == "completed"
            assert [row["id"] for row in midstream.list(thread="t")["data"]] == [stream_id]
            assert midstream.cancel(stream_id)["outcome"] == "completed"
            assert "demo/story" in [model["id"] for model in midstream.models()]
            whole = [("stream_started", 0), *((entry.type, entry.offset) for entry in entries), ("stream_ended", 0)]
            came = list(itertools.islice(midstream.tail_thread("t"), len(whole)))
            assert [(entry.type, entry.offset) for entry in came] == whole
            assert {entry.stream_id for entry in came} == {stream_id}
            assert next(midstream.tail_thread("t", came[-2].cursor)) == came[-1]
            midstream.delete_thread("t")
            with pytest.raises(sync.MidstreamError) as caught:
                midstream.state(stream_id)
            assert caught.value.status == 404

    await elsewhere(program)


async def test_it_works_within_a_loop_that_is_taken() -> None:
    """As in a notebook; the broker is in another thread then, for this one waits."""

    def serve(ready: threading.Event, over: threading.Event, urls: list[str]) -> None:
        async def serving() -> None:
            async with scripted_broker(replay()) as broker:
                urls.append(broker.url)
                ready.set()
                await asyncio.to_thread(over.wait)

        asyncio.run(serving())

    ready, over = threading.Event(), threading.Event()
    urls: list[str] = []
    thread = threading.Thread(target=serve, args=(ready, over, urls))
    thread.start()
    ready.wait()
    with sync.Midstream(urls[0]) as midstream:
        assert len(list(midstream.tail("s1"))) == 12
    over.set()
    thread.join()


async def test_a_tail_that_is_left_early_closes_its_connection() -> None:
    left = asyncio.Event()

    async def follow(exchange: Exchange) -> None:
        exchange.writer.write(SSE_HEAD)
        await exchange.chunk(frame(1))
        try:
            while True:
                await exchange.chunk(b":\n")
                await asyncio.sleep(0.01)
        except ConnectionError:
            left.set()

    def program(url: str) -> None:
        with sync.Midstream(url) as midstream:
            for _ in midstream.tail("s1"):
                break
            midstream_is_open.set()
            seen.wait()

    midstream_is_open, seen = threading.Event(), threading.Event()
    async with scripted_broker(follow) as broker:
        running = asyncio.create_task(elsewhere(program, broker.url))
        await elsewhere(midstream_is_open.wait)
        await asyncio.wait_for(left.wait(), 5)
        seen.set()
        await running


async def test_close_ends_who_waits_in_another_thread() -> None:
    async def silent(_: Exchange) -> None:
        request_sent.set()
        await asyncio.Event().wait()

    request_sent = asyncio.Event()
    async with scripted_broker(silent) as broker:
        midstream = sync.Midstream(broker.url)
        waiting = asyncio.create_task(elsewhere(midstream.models))
        await request_sent.wait()
        await elsewhere(midstream.close)
        with pytest.raises(RuntimeError, match="closed by another thread"):
            await waiting
        with pytest.raises(RuntimeError, match="is closed"):
            midstream.models()


async def test_a_program_that_closes_nothing_ends_without_a_word(url: str) -> None:
    script = f"from midstream.sync import Midstream; midstream = Midstream({url!r}); print(len(midstream.models()) > 0)"
    done = await elsewhere(
        lambda: subprocess.run(
            [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
        )
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[tuple[str, Any, Any]]]:
        return {
            name: [(one.name, one.kind, one.default) for one in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") and name not in ("close", "aclose")
        }

    assert methods(sync.Midstream) == methods(Midstream)
