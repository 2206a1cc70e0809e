"""At most one paid call for each accepted request, whatever dies; unless the request itself asked for more.

Before a paid call the worker marks its intent on the stream. A stream with that mark is never simply run again.
"""

import asyncio
import signal
from pathlib import Path

import httpx2
import pytest

from midstream.client.client import Midstream
from midstream.testing.provider.script import Script, directive
from tests.provider.client import ProviderServer
from tests.system import System, stop

MODEL = "openai/gpt-test"


@pytest.mark.leaves("a refused start is on the reaper's list until its next look", keys=["ms:due"])
async def test_an_impatient_client_starts_once(http: httpx2.AsyncClient, provider: ProviderServer) -> None:
    """The same `Idempotency-Key` is the same stream: a double click, a retry after a lost answer, twenty at once."""
    start = {"model": MODEL, "input": directive(Script(words=5))}
    key = {"Idempotency-Key": "order-4711"}

    answers = await asyncio.gather(*(http.post("/v1/streams", json=start, headers=key) for _ in range(20)))

    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    (stream_id,) = {answer.json()["id"] for answer in answers}
    await http.get(f"/v1/streams/{stream_id}", params={"wait": 10})
    assert len(await provider.calls()) == 1

    other = await http.post("/v1/streams", json={**start, "input": "Something else"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_killed_worker_is_replaced_and_the_same_call_is_read_on(
    redis_url: str, queue_road: dict[str, str], provider: ProviderServer, tmp_path: Path
) -> None:
    """OpenAI's background responses can be read on by another process. The answer comes out whole, and paid once.

    Intent/Upstream, Recovery/Begin.
    """
    script = Script(words=80, delay_ms=20)
    async with System(redis_url, tmp_path, provider.url, **queue_road) as system, Midstream(system.url) as midstream:
        await system.start()
        stream = await midstream.start(directive(script), model=MODEL)

        text, states = "", []
        async for entry in midstream.tail(stream["id"]):
            if entry.type == "text":
                text += entry.data["text"]
            if entry.type == "status":
                states.append(entry.data["state"])
            if entry.offset == 6:
                await stop(system.workers[0], signal.SIGKILL)
                await system.start_worker()

    assert text == script.text()
    assert states == ["reattaching"]
    assert len(await provider.calls()) == 1


async def test_a_request_may_opt_into_another_paid_call(
    redis_url: str, queue_road: dict[str, str], provider: ProviderServer, tmp_path: Path
) -> None:
    """`on_worker_loss: restart` buys a whole answer at the price of a second call, and both are plain to see.

    The `reset` entry tells every client to forget the text so far; `paid_calls` counts.

    Recovery/Begin.
    """
    script = Script(words=40, delay_ms=20)
    async with System(redis_url, tmp_path, provider.url, **queue_road) as system, Midstream(system.url) as midstream:
        await system.start()
        stream = await midstream.start(directive(script), model="anthropic/claude-test", on_worker_loss="restart")

        text = ""
        async for entry in midstream.tail(stream["id"]):
            if entry.type == "text":
                text += entry.data["text"]
            if entry.type == "reset":
                text = ""
            if entry.offset == 6:
                await stop(system.workers[0], signal.SIGKILL)
                await system.start_worker()
        state = await midstream.state(stream["id"])

    assert text == script.text()
    assert (state["outcome"], state["epoch"], state["paid_calls"]) == ("completed", 2, 2)
    assert len(await provider.calls()) == 2
