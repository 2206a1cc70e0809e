"""An app with its own server, as its developer runs it (PROTOCOL: Router/Embedded)."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import midstream
from midstream.embedded.data_folder import FolderError
from midstream.embedded.own_server import own_server
from midstream.settings import Settings
from tests import sse
from tests.contract.foreign_apps import ADA, app_of, begun, ended, serving
from tests.servers import free_port, http_server

ROOT = Path(__file__).parents[2]
WORDS = ["bad", "cancelled", "well"]
PAGE = ROOT / "docs" / "fastapi.md"


async def test_the_example_goes_on_after_a_stop(tmp_path: Path) -> None:
    """Router/Embedded, Router/Stop."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = (sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples/fastapi_app"), "app:app")
    environment = {"PATH": os.environ["PATH"], "MIDSTREAM_DRAIN_S": "0"}
    run = {"cwd": tmp_path, "env": environment}
    client = httpx2.AsyncClient(base_url=f"{url}/streams", cookies={"user": "ada"}, timeout=20)
    async with client:
        async with http_server(url, (*words, "--port", str(port)), tmp_path / "1.log", **run):
            assert "/streams/midstream.js" in (await client.get(url)).text
            stream_id = (await client.post(f"{url}/ask", params={"question": "Why?"})).json()
            async with client.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
                events = sse.parse(answer)
                read = [await anext(events), await anext(events)]
                (holder,) = re.findall(r"\d+", (tmp_path / ".midstream/lock").read_text())
                os.kill(int(holder), signal.SIGTERM)
                read += [event async for event in events]
        assert read[-1].type == "text", "the tail was parted from"
        async with http_server(url, (*words, "--port", str(port)), tmp_path / "2.log", **run):
            rest = await sse.tail(client, stream_id, after=read[-1].id)
    assert [event.id for event in read + rest] == list(range(1, rest[-1].id + 1))
    assert rest[-1].data["outcome"] == "interrupted"


async def test_processes_share_one_server(tmp_path: Path) -> None:
    """Router/Embedded."""
    settings = Settings(data_dir=tmp_path)
    async with own_server(settings) as address:
        async with own_server(settings) as same:
            assert same == address
        async with serving(app_of(address)) as client:
            stream_id = await begun(client)
            assert (await client.get(f"/v1/streams/{stream_id}")).json()["status"] == "running"
    async with own_server(settings) as address, serving(app_of(address)) as client:
        await ended(client, stream_id)
    with pytest.raises(FolderError, match="too long"):
        async with own_server(Settings(data_dir=tmp_path / ("x" * 100))):
            pass


async def test_the_server_outlives_the_process_that_runs_it_until_the_others_have_left(tmp_path: Path) -> None:
    """Router/Embedded."""
    settings = Settings(data_dir=tmp_path)
    first, second = own_server(settings), own_server(settings)
    address = await first.__aenter__()
    await second.__aenter__()
    leaving = asyncio.create_task(first.__aexit__(None, None, None))
    async with midstream.produce(address) as out:
        await out.text("I have not ended yet.")
    assert not leaving.done()
    await second.__aexit__(None, None, None)
    await leaving
    async with own_server(settings.model_copy(update={"drain_s": 0.0, "broker_drain_ms": 1})):
        third = own_server(settings)
        await third.__aenter__()
    await third.__aexit__(None, None, None)  # it was not waited for any longer
    with pytest.raises(midstream.ProduceError, match="log_unavailable"):
        await midstream.produce(address).__aenter__()


async def test_the_page_works_as_printed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Produce/Address."""
    monkeypatch.setenv("MIDSTREAM_REDIS_URL", redis_url)
    page: dict[str, Any] = {}
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(snippet, page)  # noqa: S102 - our own page
    async with serving(page["app"]) as client:
        monkeypatch.setenv("MIDSTREAM_REDIS_URL", "redis://127.0.0.1:1/0")  # the router's counts
        answer = await client.post(str(client.base_url).replace("/streams/", "/ask"), params={"question": "Why me?"})
        assert sse.text(await sse.tail(client, answer.json())) == "Why me? "


async def test_an_answer_in_the_background_ends_truthfully(redis_url: str) -> None:
    """Produce/Background."""
    closed: list[str] = []
    all_closed = asyncio.Event()

    async def source(until: asyncio.Event, word: str) -> AsyncIterator[str]:
        try:
            yield word
            await until.wait()
            yield 1 if word == "bad" else "!"  # type: ignore[misc]
        finally:
            closed.append(word)
            if len(closed) == len(WORDS):
                all_closed.set()

    async def looks(out: midstream.Producer) -> None:
        await out.tool_call("c1", "look", {})

    def produce(**fields: Any) -> midstream.Producer:
        return midstream.produce(redis_url, user="ada", **fields)

    go, never = asyncio.Event(), asyncio.Event()
    for junk in (source, ["a"], "a", None):
        with pytest.raises(TypeError, match="source"):
            await midstream.in_background(produce(), junk)  # type: ignore[arg-type]
    async with serving(app_of(redis_url)) as client:
        ids = [await midstream.in_background(produce(), source(go, word)) for word in ("well", "bad")]
        ids.append(await midstream.in_background(produce(), looks))
        ids.append(await midstream.in_background(produce(key="k"), source(never, "cancelled")))
        with pytest.raises(midstream.ProduceError) as refusal:
            await midstream.in_background(produce(key="k"), source(go, "never"))
        assert (refusal.value.code, closed) == ("already_produced", [])
        await client.post(f"/v1/streams/{ids[-1]}/cancel")
        go.set()
        states = [(await client.get(f"/v1/streams/{each}?wait=5")).json() for each in ids]
        await asyncio.wait_for(all_closed.wait(), 5)
    assert [state["outcome"] for state in states] == ["completed", "failed", "completed", "cancelled"]
    assert sorted(closed) == WORDS


async def test_a_stopping_app_gives_its_answers_their_time(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Router/Stop."""
    monkeypatch.setenv("MIDSTREAM_DRAIN_S", "0.3")

    async def source(pause_s: float) -> AsyncIterator[str]:
        await asyncio.sleep(pause_s)
        yield "!"

    async with serving(app_of(redis_url)) as client:
        ids = [
            await midstream.in_background(midstream.produce(user="ada"), source(pause_s)) for pause_s in (0.02, 30.0)
        ]
    async with serving(app_of(redis_url)) as client:
        states = [(await client.get(f"/v1/streams/{each}", headers=ADA)).json() for each in ids]
    assert [state["outcome"] for state in states] == ["completed", "interrupted"]
