"""The sources that need no provider: the demo and the user's own generator; and how sources are found."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Self

import pytest

from midstream.settings import Settings
from midstream_worker.sources.deltas import Delta, Finish, Reasoning, SourceError, Text, ToolCall, Usage
from midstream_worker.sources.providers import Sources
from midstream_worker.sources.source import Prompt
from tests.contract.source_reading import read

PASSWORD = "swordfish"
ASK = [{"role": "user", "content": "Tell me a story"}]

closed: list[str] = []


async def plain(messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncIterator[str]:
    yield messages[-1]["content"]
    yield params.get("more", "")
    yield "\ud83d"
    yield "\ude00"


async def typed(messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[Delta | str]:
    yield Reasoning("hm")
    yield "half \ud83d"
    yield Usage(len(messages), 2)
    yield Finish("length")


async def raising(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield "so far"
    raise RuntimeError(f"the password is {PASSWORD}")


async def cancelled_within(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield "so far"
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


class Words:
    """An async iterator that is no generator: it has no `aclose`."""

    def __init__(self, *words: str) -> None:
        self._words = iter(words)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        for word in self._words:
            return word
        raise StopAsyncIteration


def iterated(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> Words:
    return Words("so ", "far")


async def wrong(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[int]:
    yield 5


async def endless(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    try:
        while True:
            yield "on and on"
    finally:
        closed.append("endless")


def own(name: str) -> tuple[Sources, str]:
    return Sources(Settings(apps={name: f"{__name__}:{name}"})), f"app/{name}"


async def test_an_app_yields_strings() -> None:
    sources, model = own("plain")
    source, name = sources.get(model)
    got = await read(source.open(Prompt(name, ASK, {"more": " now"})))
    assert got.text == "Tell me a story now😀"
    assert got.finish == "stop"


async def test_an_app_yields_deltas() -> None:
    sources, model = own("typed")
    got = await read(sources.get(model)[0].open(Prompt("typed", ASK, {})))
    assert got.deltas == [Reasoning("hm"), Text("half "), Text("\ufffd"), Usage(1, 2), Finish("length")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raising", "raised RuntimeError"),
        ("cancelled_within", "raised CancelledError"),
        ("wrong", "yielded int, which is neither"),
    ],
)
async def test_an_app_that_raises_is_a_source_error_that_tells_nothing(name: str, words: str) -> None:
    sources, model = own(name)
    with pytest.raises(SourceError, match=words) as caught:
        await read(sources.get(model)[0].open(Prompt(name, ASK, {})))
    assert (caught.value.code, caught.value.retry) == ("source_error", "never")
    assert "swordfish" not in caught.value.message


async def test_an_app_may_return_any_async_iterator() -> None:
    sources, model = own("iterated")
    got = await read(sources.get(model)[0].open(Prompt("iterated", ASK, {})))
    assert (got.text, got.finish) == ("so far", "stop")


async def test_closing_closes_the_apps_generator() -> None:
    sources, model = own("endless")
    async with aclosing(sources.get(model)[0].open(Prompt("endless", ASK, {}))) as deltas:
        assert await anext(deltas) == Text("on and on")
    assert closed.pop() == "endless"


@pytest.mark.parametrize("path", ["no.such.module:f", f"{__name__}:no_such_function"])
def test_an_app_that_cannot_be_imported_is_a_source_error(path: str) -> None:
    with pytest.raises(SourceError) as caught:
        Sources(Settings(apps={"mine": path})).get("app/mine")
    assert caught.value.code == "source_error"


async def test_the_demo_says_what_it_is() -> None:
    source, name = Sources(Settings(demo_delay_ms=0)).get("demo/story")
    got = await read(source.open(Prompt(name, ASK, {"words": 5})))
    assert got.text.startswith("[demo] This is canned text, no model was asked.")
    assert len(got.text.split()) == 9 + 5
    assert got.finish == "stop"
    assert not source.paid


@pytest.mark.parametrize("model", ["count", "reasoning", "tools"])
async def test_the_demos_models(model: str) -> None:
    source, name = Sources(Settings(demo_delay_ms=0)).get(f"demo/{model}")
    got = await read(source.open(Prompt(name, ASK, {"words": 3})))
    assert got.text.startswith("[demo]")
    assert got.text.endswith("1 2 3 ") == (model == "count")
    assert bool(got.reasoning) == (model == "reasoning")
    assert got.calls == ([ToolCall("call_demo", "get_weather", got.arguments)] if model == "tools" else [])
    assert got.finish == ("tool_calls" if model == "tools" else "stop")


@pytest.mark.parametrize("params", [{"words": -1}, {"words": "many"}, {"delay_ms": 10**9}, {"words": True}])
async def test_the_demo_refuses_nonsense(params: dict[str, Any]) -> None:
    source, name = Sources(Settings()).get("demo/story")
    with pytest.raises(SourceError) as caught:
        await read(source.open(Prompt(name, ASK, params)))
    assert caught.value.code == "provider_bad_request"


async def test_a_source_is_made_once_for_each_provider() -> None:
    sources = Sources(Settings(local_url="http://127.0.0.1:1/v1", providers={"groq": "http://127.0.0.1:1/v1"}))
    groq, name = sources.get("groq/meta/llama-3")
    assert name == "meta/llama-3"
    assert sources.get("groq/other")[0] is groq
    assert (groq.paid, sources.get("local/smollm2")[0].paid) == (True, False)
    await sources.aclose()
    assert sources.get("groq/other")[0] is not groq
    await sources.aclose()


def test_no_sdk_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys; from midstream.settings import Settings; from midstream_worker.sources.providers import Sources;"
        "Sources(Settings()).get('demo/story'); print(sorted({'openai', 'anthropic'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
