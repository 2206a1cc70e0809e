"""PROTOCOL: Ends/Outbox, Ends/Order, Ends/Taken: every end is delivered, no matter which process is killed."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.receivers import Receiver, receiver, webhooks_file
from tests.system import System

THREADS = ("a", "b", "c")
HOOK = """
import asyncio, json, os
from pathlib import Path
from typing import Any

async def save(ended):
    calls = Path("calls.jsonl")
    is_first = not calls.exists()
    with calls.open("a") as file:
        file.write(json.dumps([ended.id, ended.outcome, ended.answer.text if ended.answer else None]) + "\\n")
    if is_first:
        await asyncio.sleep(60)
"""
QUICK: dict[str, Any] = {
    "lease_ms": 600,
    "demo_delay_ms": 5,
    "webhook_timeout_s": 0.5,
    "on_end": "hook:save",
    "on_end_timeout_s": 1,
    "end_retry_ms": 100,
    "end_retry_most_s": 0.3,
}


@pytest.fixture
async def sink() -> AsyncIterator[Receiver]:
    async with receiver() as each:
        yield each


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


def calls_of(folder: Path) -> list[tuple[str, str, str]]:
    file = folder / "calls.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def prepare(folder: Path, url: str) -> Path:
    (folder / "hook.py").write_text(HOOK)
    return webhooks_file(folder / "webhooks.toml", ("default", url))


@pytest.mark.leaves("a slip that was written twice, for a lost worker, stays until it expires", keys=["ms:queue"])
@pytest.mark.slow_start(8)
async def test_no_end_is_lost_by_any_kill(redis_url: str, tmp_path: Path, sink: Receiver) -> None:
    """The receiver is down, then a worker is killed in its generations and in the hook, then a broker in deliveries."""
    file = prepare(tmp_path, sink.url)
    await sink.close()
    async with System(redis_url, tmp_path, webhooks_file=file, **QUICK) as system:
        await system.start()
        short = {"model": "demo/count", "input": "x", "params": {"words": 3}}
        ids: dict[str, list[str]] = {thread: [] for thread in THREADS}
        for number in range(9):
            stream_id = await system.post(**short, thread=THREADS[number % 3])
            ids[THREADS[number % 3]].append(stream_id)
            await system.ended(stream_id)
        for thread in THREADS:  # these are running when their worker is killed
            ids[thread].append(await system.post(model="demo/count", input="x", params={"words": 200}, thread=thread))
        await until(lambda: bool(calls_of(tmp_path)))
        system.workers[0].send_signal(signal.SIGKILL)
        system.brokers[0].send_signal(signal.SIGKILL)
        await system.workers[0].wait()
        await system.brokers[0].wait()
        await system.start_worker()
        await system.start_broker()
        every = [stream_id for thread in THREADS for stream_id in ids[thread]]
        ends = {stream_id: await system.ended(stream_id) for stream_id in every}
        await sink.open()
        await sink.until(2)
        system.brokers[1].send_signal(signal.SIGKILL)
        await system.brokers[1].wait()
        await system.start_broker()
        await until(lambda: set(sink.ids) == set(every))
        await until(lambda: {call[0] for call in calls_of(tmp_path)} == set(every))

    for request in sink.requests:
        request.verify()
        assert request.data["outcome"] == ends[request.data["id"]]["outcome"]
    order = list(dict.fromkeys(sink.ids))
    for thread in THREADS:
        assert [each for each in order if each in ids[thread]] == ids[thread]
    calls = calls_of(tmp_path)
    assert calls[0] in calls[1:]  # that call was cut by the kill, and made again
    assert {(each, end["outcome"], end["output"]["text"]) for each, end in ends.items()} == {*map(tuple, calls)}
