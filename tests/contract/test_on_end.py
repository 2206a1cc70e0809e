"""PROTOCOL: Ends/Hook: a function of the operator's is called with each stream that has ended."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from midstream.ends import deliverer
from midstream.ends.ended_stream import EndedStream
from midstream.settings import Settings
from tests import inside

CALLS: list[EndedStream] = []
FAILURES: list[Exception] = []
CALLED = [asyncio.Event()]


async def save(ended: EndedStream) -> None:
    """The hook: it remembers what it was called with, and fails as often as a test says."""
    CALLS.append(ended)
    CALLED[0].set()
    if FAILURES:
        failure = FAILURES.pop()
        if isinstance(failure, TimeoutError):
            await asyncio.sleep(60)
        raise failure


@pytest.fixture
async def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    monkeypatch.setattr(deliverer, "LOOK_S", 0.02)
    CALLS.clear()
    CALLED[0] = asyncio.Event()
    FAILURES.clear()
    quick = {"on_end": f"{__name__}:save", "on_end_timeout_s": 0.3, "end_retry_ms": 20}
    own = settings.model_copy(update=quick)
    async with inside.worker(own), inside.broker(settings) as client:
        yield client


async def called(number: int) -> list[EndedStream]:
    async with asyncio.timeout(10):
        while len(CALLS) < number:
            CALLED[0].clear()
            await CALLED[0].wait()
    return CALLS


async def test_the_hook_gets_the_stream_and_its_answer(client: httpx2.AsyncClient) -> None:
    """Ends/Hook."""
    start = {"model": "demo/count", "input": "x", "params": {"words": 3}, "thread": "t", "metadata": {"order": "7"}}
    stream_id = (await client.post("/v1/streams", json=start)).json()["id"]
    (ended,) = await called(1)
    state = (await client.get(f"/v1/streams/{stream_id}", params={"wait": 1})).json()
    assert (ended.id, ended.thread, ended.metadata) == (stream_id, "t", {"order": "7"})
    assert (ended.tenant, ended.outcome, ended.code) == ("default", "completed", "")
    assert ended.answer is not None
    assert ended.answer.text == state["output"]["text"]
    assert (ended.usage, ended.timings) == (state["usage"], state["timings"])


async def test_the_hook_is_called_again_after_a_failure_and_for_every_kind_of_end(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Ends/Hook, Ends/Taken: an end that the broker has written is told of too."""
    FAILURES[:] = [RuntimeError("a secret"), TimeoutError()]
    start = {"model": "demo/count", "input": "x", "params": {"words": 500}}
    stream_id = (await client.post("/v1/streams", json=start)).json()["id"]
    await client.post(f"/v1/streams/{stream_id}/cancel")
    calls = await called(3)
    assert {(each.id, each.outcome) for each in calls} == {(stream_id, "cancelled")}
    words = [record.message for record in caplog.records if record.name == deliverer.__name__]
    assert any("it took longer than 0.3 s" in each for each in words)
    assert any("RuntimeError" in each for each in words)


@pytest.mark.parametrize(
    ("function", "words"), [("no_such_module:save", "ModuleNotFoundError"), ("os:getcwd", "async")]
)
def test_a_worker_without_its_function_does_not_start(function: str, words: str, tmp_path: Path) -> None:
    """Ends/Hook."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "midstream_worker"],
        env={"MIDSTREAM_ON_END": function},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert "MIDSTREAM_ON_END" in done.stderr
    assert words in done.stderr
