"""Sources of the app's own for the AI SDK face: one of every delta, and one that dies when it is told to."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from midstream_worker.sources.deltas import (
    Delta,
    Finish,
    Other,
    Reasoning,
    SourceError,
    Text,
    ToolCall,
    ToolInput,
    Usage,
)


async def everything(messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncGenerator[Delta]:
    """Yield one of everything that a log can hold."""
    del messages, params
    await asyncio.sleep(0)
    yield Reasoning("hm")
    yield Text("when")
    yield Other("source", {"id": "s1", "url": "https://example.org/", "title": "An example"})
    yield Other("source", {"id": "s2", "title": "A book", "media_type": "application/pdf"})
    yield Text("ever")
    yield ToolInput("c1", "weather", '{"city":')
    yield ToolInput("c1", "weather", '"Bern"}')
    yield ToolCall("c1", "weather", '{"city":"Bern"}')
    yield Other("tool_result", {"tool_call_id": "c1", "output": {"degrees": 7}})
    yield ToolCall("c2", "weather", '{"city":"Uri"}')
    yield Other("tool_result", {"tool_call_id": "c2", "error": "no such city"})
    yield Other("tool_result", {"tool_call_id": "nobodys", "output": 1})
    yield ToolCall("c3", "weather", "{no json")
    yield Other("file", {"data": "aGk=", "media_type": "text/plain"})
    yield Other("file", {"url": "https://example.org/cat.png", "media_type": "image/png"})
    yield Other("data", {"kind": "Mood Swing", "level": 3})
    yield Other("data", {"kind": "refusal", "text": "I will not."})
    yield Usage(3, 4)
    yield Finish("length")


async def begins_anew(messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncGenerator[Delta]:
    """Take back what was said, with a call that has no result, and say something else."""
    del messages, params
    await asyncio.sleep(0)
    yield Text("no")
    yield ToolInput("c1", "weather", '{"ci')
    yield Other("reset", {"reason": "begins_anew"})
    yield Reasoning("hm")
    yield Text("yes")
    yield Finish("stop")


async def echo(messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncGenerator[Delta]:
    """Say what was said."""
    del params
    await asyncio.sleep(0)
    yield Text(str(messages[-1]["content"]))
    yield Finish("stop")


async def cut_in_a_call(messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncGenerator[Delta]:
    """Fail, or wait to be stopped, in the midst of a tool call's input."""
    del messages
    yield Text("so ")
    yield ToolInput("c1", "weather", '{"ci')
    if params.get("wait"):
        await asyncio.Event().wait()
    raise SourceError("provider_error", "The provider failed.")
