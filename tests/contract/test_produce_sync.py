"""A producer without an event loop: `midstream.sync.produce` (PROTOCOL: Produce/Threads)."""

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

import midstream
from midstream import sync
from midstream.producer.blocking_producer import BlockingProducer
from midstream.producer.producer import Producer
from midstream.settings import Settings
from tests import inside


@pytest.fixture
async def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    monkeypatch.setenv("MIDSTREAM_REDIS_URL", settings.redis_address)
    monkeypatch.setenv("MIDSTREAM_LEASE_MS", str(settings.lease_ms))
    async with inside.broker(settings) as client:
        yield client


async def ended(client: httpx2.AsyncClient, stream_id: str) -> dict[str, Any]:
    state: dict[str, Any] = (await client.get(f"/v1/streams/{stream_id}", params={"wait": 5})).json()
    return state


async def test_blocks_in_threads_are_streams(client: httpx2.AsyncClient) -> None:
    """Produce/Threads."""

    def produced(number: int) -> str:
        with sync.produce(thread="t") as out:
            out.text(f"answer {number}")
            out.tool_call("c1", "look", {"at": number})
        return out.id

    ids = await asyncio.gather(*(asyncio.to_thread(produced, number) for number in range(3)))
    for number, stream_id in enumerate(ids):
        state = await ended(client, stream_id)
        assert (state["outcome"], state["output"]["text"]) == ("completed", f"answer {number}")


async def test_a_lease_is_kept_and_a_cancel_heard_while_the_program_waits(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    """Produce/Threads."""
    began, go_on, reached = threading.Event(), threading.Event(), []

    def produced() -> BlockingProducer:
        with sync.produce() as out:
            reached.append(out.id)
            began.set()
            time.sleep(1.5 * settings.lease_ms / 1000)
            out.text("so far")
            reached.append("text")
            go_on.wait(5)
            out.text("too late")
            reached.append("not reached")
        return out

    block = asyncio.create_task(asyncio.to_thread(produced))
    await asyncio.to_thread(began.wait, 5)
    while len(reached) < 2:
        await asyncio.sleep(0.02)
    await client.post(f"/v1/streams/{reached[0]}/cancel")
    assert (await ended(client, reached[0]))["outcome"] == "cancelled"
    go_on.set()
    assert (await block).cancelled
    assert reached[1:] == ["text"]


@pytest.mark.parametrize("error", [ValueError("swordfish"), KeyboardInterrupt()])
async def test_what_a_block_raises_ends_its_stream(client: httpx2.AsyncClient, error: BaseException) -> None:
    """Produce/Threads."""
    ids, raised = [], []

    def produced() -> None:
        try:
            with sync.produce(key="k") as out:
                ids.append(out.id)
                raise error
        except BaseException as caught:  # noqa: BLE001 - it may not reach the loop
            raised.append(caught)

    await asyncio.to_thread(produced)
    assert raised == [error]
    state = await ended(client, ids[0])
    assert state["outcome"] == ("failed" if isinstance(error, Exception) else "interrupted")
    with pytest.raises(midstream.ProduceError, match="already_produced"):
        await asyncio.to_thread(sync.produce(key="k").__enter__)


def test_both_producers_have_the_same_methods() -> None:
    def methods(kind: type, *less: str) -> dict[str, list[tuple[str, Any, Any]]]:
        return {
            name: [(one.name, one.kind, one.default) for one in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") and name not in less
        }

    assert methods(BlockingProducer) == methods(Producer, "stop")
