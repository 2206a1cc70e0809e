"""What an app yields is checked where it enters (PROTOCOL: Sources/Items), and no app blocks or ends the others."""

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest

from midstream.client.client import Midstream
from midstream.settings import Settings
from midstream_worker.sources.deltas import (
    Finish,
    Other,
    Reasoning,
    SourceError,
    Text,
    ToolCall,
    ToolInput,
    Upstream,
    Usage,
)
from midstream_worker.sources.providers import Sources
from midstream_worker.sources.source import Prompt
from tests.contract.worker_runs import client_of, read

UNFIT: dict[str, tuple[Any, str]] = {
    "object in a tool result": (
        Other("tool_result", {"id": "c1", "result": object()}),
        "not JSON serializable: object",
    ),
    "half of a character": (Other("tool_result", {"id": "c1", "result": "\ud83d"}), "not valid UTF-8"),
    "int keys": (Other("data", {"kind": "x", "v": {1: "a"}}), "must be str"),
    "bytes": (Other("data", {"kind": "x", "v": b"a"}), "bytes"),
    "Decimal": (Other("data", {"kind": "x", "v": Decimal("1.5")}), "decimal.Decimal"),
    "huge int": (Other("data", {"kind": "x", "v": 2**70}), "64-bit"),
    "dict arguments": (ToolCall("c1", "search", {"q": 1}), "`arguments` is of type dict"),  # type: ignore[arg-type]
    "None arguments": (ToolCall("c1", "search", None), "`arguments` is None"),  # type: ignore[arg-type]
    "call without an id": (ToolCall("", "search", "{}"), "`id` is empty"),
    "call without a name": (ToolCall("c1", "", "{}"), "`name` is empty"),
    "fragment without an id": (ToolInput("", "search", "{"), "`id` is empty"),
    "half of an id": (ToolCall("\ud800", "search", "{}"), "`id` holds half of a character"),
    "dict fragment": (ToolInput("c1", "search", {"q": 1}), "`delta` is of type dict"),  # type: ignore[arg-type]
    "Text(None)": (Text(None), "`text` is None"),  # type: ignore[arg-type]
    "Reasoning(5)": (Reasoning(5), "`text` is of type int"),  # type: ignore[arg-type]
    "float figures": (Usage(1.5, 1), "`input_tokens` is of type float"),  # type: ignore[arg-type]
    "no figure": (Usage(1, None), "`output_tokens` is None"),  # type: ignore[arg-type]
    "negative figure": (Usage(1, -1), "`output_tokens` is out of range"),
    "details in words": (Usage(1, 1, {"cached_tokens": "x"}), "`cached_tokens` is of type str"),
    "details in a list": (Usage(1, 1, [1]), "`details` is of type list"),  # type: ignore[arg-type]
    "reason": (Finish("whatever"), "`reason` is none of stop"),  # type: ignore[arg-type]
    "data None": (Other("data", None), "`data` is None"),  # type: ignore[arg-type]
    "data str": (Other("data", "x"), "`data` is of type str"),  # type: ignore[arg-type]
    "data without a kind": (Other("data", {"v": 1}), "`kind` is None"),
    "refusal without words": (Other("data", {"kind": "refusal"}), "`text` is None"),
    "end": (Other("end", {"outcome": "completed"}), "an app can write source, file"),
    "start": (Other("start", {"epoch": 9}), "an app can write source, file"),
    "text": (Other("text", {"text": 5}), "an app can write source, file"),
    "nonsense": (Other("nonsense", {}), "an app can write source, file"),
    "type of a type": (Other({}, {}), "an app can write source, file"),  # type: ignore[arg-type]
    "upstream": (Upstream("id", resumable=True), "cannot be read again"),
    "dict": ({"text": "x"}, "dict, which is neither a string nor a delta"),
    "None": (None, "NoneType, which is neither"),
}
FIT = {
    "text": Text("x"), "str": "x", "status": Other("status", {"state": "thinking"}),
    "tool result": Other("tool_result", {"id": "c1", "result": "ok"}), "reset": Other("reset", {"reason": "anew"}),
    "data": Other("data", {"kind": "k", "type": "mine"}), "half in reasoning": Reasoning("\ud83d"),
    "usage": Usage(1, 2, {"model": "x", "cached_tokens": 1}), "str's child": type("S", (str,), {})("x"),
}  # fmt: skip


async def items(_messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncIterator[Any]:
    yield "a "
    yield UNFIT[params["unfit"]][0] if "unfit" in params else FIT[params["fit"]]
    yield " b"


async def quits(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield "a "
    sys.exit(3)


async def raises_anything(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield "a "
    raise SourceError("budget_\x1bexceeded", "You have \x1b]0;used\x07 up\r\nyour tokens.")


async def no_generator(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> str:
    return "a"


entered, released, closed = threading.Event(), threading.Event(), threading.Event()


def blocking(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> Iterator[str]:
    try:
        yield threading.current_thread().name
        entered.set()
        released.wait(10)
        yield " after"
    finally:
        closed.set()


def blocking_and_raising(_messages: list[dict[str, Any]], _params: dict[str, Any]) -> Iterator[str]:
    yield "a"
    raise ValueError


def own(*names: str, **further: Any) -> dict[str, Any]:
    return {"apps": {name: f"{__name__}:{name}" for name in names}, **further}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Midstream]:
    apps = own("items", "quits", "raises_anything", "no_generator", "blocking", "blocking_and_raising")
    async with client_of(settings.model_copy(update=apps)) as client:
        yield client


async def test_what_does_not_fit_fails_at_once_and_is_named(client: Midstream) -> None:
    """Sources/Items."""
    for unfit, (_, words) in UNFIT.items():
        stream = await client.start("x", model="app/items", params={"unfit": unfit}, on_worker_loss="restart")
        got = await read(client, stream["id"])
        assert got.end == ("failed", "source_error"), unfit
        assert got.joined("text") == "a ", unfit
        assert words in got.state["error"]["message"], unfit
        assert (got.state["epoch"], got.state["paid_calls"]) == (1, 1), unfit
        assert [entry.type for entry in got.entries] == ["start", "text", "end"], unfit


async def test_what_fits_is_let_in(client: Midstream) -> None:
    """Sources/Items."""
    for fit in FIT:
        stream = await client.start("x", model="app/items", params={"fit": fit})
        got = await read(client, stream["id"])
        assert got.end == ("completed", None), fit


@pytest.mark.parametrize(
    ("app", "code", "words"),
    [
        ("quits", "source_error", "raised SystemExit"),
        ("raises_anything", "budget_\ufffdexceeded", "You have \ufffd]0;used\ufffd up\nyour tokens."),
        ("no_generator", "source_error", "returned a coroutine: it has to be a generator"),
        ("blocking_and_raising", "source_error", "raised ValueError"),
    ],
)
async def test_an_app_ends_itself_alone(client: Midstream, app: str, code: str, words: str) -> None:
    got = await read(client, (await client.start("x", model=f"app/{app}"))["id"])
    assert got.end == ("failed", code)
    assert words in got.state["error"]["message"]
    again = await read(client, (await client.start("x", model="demo/count", params={"words": 2}))["id"])
    assert again.end == ("completed", None)


async def test_a_blocking_generator_runs_in_a_thread(client: Midstream) -> None:
    """Sources/Threads."""
    for event in (entered, released, closed):
        event.clear()
    stream = await client.start("x", model="app/blocking")
    await asyncio.to_thread(entered.wait, 10)
    beside = await read(client, (await client.start("x", model="demo/count", params={"words": 2}))["id"])
    assert beside.end == ("completed", None)
    assert not closed.is_set()
    released.set()
    got = await read(client, stream["id"])
    assert (got.end, got.joined("text")) == (("completed", None), "app blocking after")
    assert await asyncio.to_thread(closed.wait, 10)


async def test_a_cancel_does_not_wait_for_what_blocks(client: Midstream) -> None:
    """Sources/Threads."""
    for event in (entered, released, closed):
        event.clear()
    stream = await client.start("x", model="app/blocking")
    await asyncio.to_thread(entered.wait, 10)
    await client.cancel(stream["id"])
    assert (await read(client, stream["id"])).end == ("cancelled", None)
    released.set()
    assert await asyncio.to_thread(closed.wait, 10), "and it is closed when it can be"


def test_apps_are_imported_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """Sources/Imports."""
    sources = Sources(Settings(apps={"mine": f"{__name__}:items", "broken": "no_such_module:answer"}))
    with caplog.at_level(logging.ERROR):
        sources.warm()
    (line,) = caplog.messages
    assert "broken (no_such_module:answer, looked for in /" in line
    assert "No module named 'no_such_module'" in line
    with pytest.raises(SourceError, match="could not be imported"):
        sources.get("app/broken")
    assert len(caplog.messages) == 1, "what fails is not tried again"


async def test_closing_closes_the_blocking_generator() -> None:
    closed.clear()
    source, name = Sources(Settings(**own("blocking"))).get("app/blocking")
    deltas = source.open(Prompt(name, [], {}))
    await anext(deltas)
    await deltas.aclose()
    assert await asyncio.to_thread(closed.wait, 10)
