"""Your own code can be the model: an async generator that yields strings, or typed deltas.

Name it in the settings, `MIDSTREAM_APPS='{"countdown": "your_module:countdown"}'`, and ask for `app/countdown`.
An agent, a chain, a database query, another vendor's SDK: what it yields is logged, and is resumable like the rest.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from midstream.client.client import Midstream
from midstream.settings import Settings
from midstream_worker.sources.deltas import Delta, Finish, Other, Text, Usage

PASSWORD = "swordfish"


async def countdown(messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncIterator[str]:
    """The shortest kind: takes the chat messages and the request's `params`, yields pieces of text."""
    yield f"{messages[-1]['content']}: "
    for number in range(params["from"], 0, -1):
        yield f"{number} "


async def researcher(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[Delta]:
    """The typed kind: entries of other types, usage, and a finish of its own."""
    yield Other("source", {"url": "https://example.org/rivers", "title": "Rivers"})
    yield Text("They run.")
    yield Usage(input_tokens=3, output_tokens=2)
    yield Finish("length")


async def clumsy(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    """One that falls on its face."""
    yield "So far so good. "
    raise RuntimeError(f"the password is {PASSWORD}")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The settings, with the three generators above."""
    return settings.model_copy(
        update={"apps": {name: f"{__name__}:{name}" for name in ("countdown", "researcher", "clumsy")}}
    )


async def test_strings_become_text_entries(midstream: Midstream) -> None:
    """A generator that just ends has completed."""
    stream = await midstream.start("Lift-off in", model="app/countdown", params={"from": 3})

    ended = await midstream.state(stream["id"], wait_s=10)

    assert ended["output"]["text"] == "Lift-off in: 3 2 1 "
    assert (ended["outcome"], ended["finish_reason"]) == ("completed", "stop")


async def test_deltas_become_entries_of_their_own_type(midstream: Midstream) -> None:
    """Sources, files, tool results, data of your own: the log keeps them in order, between the pieces of text.

    Entries/Types.
    """
    stream = await midstream.start("What do rivers do?", model="app/researcher")

    entries = {entry.type: entry.data async for entry in midstream.tail(stream["id"])}

    assert list(entries) == ["start", "source", "text", "usage", "end"]
    assert entries["source"]["title"] == "Rivers"
    assert entries["end"]["usage"]["output_tokens"] == 2
    assert entries["end"]["finish_reason"] == "length"


async def test_an_exception_is_a_truthful_end_and_no_leak(midstream: Midstream) -> None:
    """The client learns that it failed, and by which exception. Its message stays in the worker's own log."""
    stream = await midstream.start("Go.", model="app/clumsy")

    ended = await midstream.state(stream["id"], wait_s=10)

    assert (ended["outcome"], ended["error"]["code"]) == ("failed", "source_error")
    assert ended["output"]["text"] == "So far so good. "
    assert "RuntimeError" in ended["error"]["message"]
    assert "swordfish" not in ended["error"]["message"]
