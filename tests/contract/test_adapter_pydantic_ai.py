"""pydantic-ai's own agents with its fake models, as apps in a worker (PROTOCOL: Adapters/Entries, Adapters/Lanes)."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.function import DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel as FakeModel

from midstream.adapters.pydantic_ai import deltas
from midstream.attempts.delta import Delta, Other, Text, ToolCall, ToolInput, Usage
from midstream.settings import Settings
from tests.contract.worker_runs import client_of, read


class Colour(BaseModel):
    name: str


async def looks(messages: list[Any], info: Any) -> AsyncIterator[Any]:
    """Answer as a model that thinks, looks and then knows."""
    if len(messages) > 1 and info.output_tools:
        yield {0: DeltaToolCall(name="final_result", json_args='{"name": "blue"}', tool_call_id="c2")}
    elif len(messages) > 1:
        yield "Of the "
        yield "air."
    else:
        yield {0: DeltaThinkingPart(content="Hm.")}
        yield "Let me look. "
        yield {1: DeltaToolCall(name="look", json_args='{"at": ', tool_call_id="c1")}
        yield {1: DeltaToolCall(json_args='"sky"}')}


agent = Agent(FunctionModel(stream_function=looks))


@agent.tool_plain  # type: ignore[untyped-decorator]
def look(at: str) -> str:
    return f"The {at} is blue."


def answer(messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncGenerator[Delta]:
    return deltas(agent.run_stream_events(messages[-1]["content"]))


async def test_an_agent_is_an_app(settings: Settings) -> None:
    own = settings.model_copy(update={"apps": {"answer": f"{__name__}:answer"}})
    async with client_of(own) as client:
        stream = await client.start("Why?", model="app/answer")
        got = await read(client, stream["id"])
    assert got.end == ("completed", None)
    assert (got.joined("reasoning"), got.joined("text")) == ("Hm.", "Let me look. Of the air.")
    assert "".join(data["delta"] for data in got.of("tool_input")) == '{"at": "sky"}'
    assert got.of("tool_call") == [{"id": "c1", "name": "look", "arguments": '{"at": "sky"}'}]
    assert got.of("tool_result") == [{"id": "c1", "name": "look", "output": "The sky is blue."}]
    assert [usage["output_tokens"] > 0 for usage in got.of("usage")] == [True]


async def test_a_structured_output_is_an_object() -> None:
    got = [delta async for delta in deltas(agent.run_stream_events("Why?", output_type=Colour))]
    assert got[-5:-1] == [
        ToolInput("c2", "final_result", '{"name": "blue"}'),
        ToolCall("c2", "final_result", '{"name": "blue"}'),
        Other("tool_result", {"id": "c2", "name": "final_result", "output": "Final result processed."}),
        Other("data", {"kind": "object", "value": {"name": "blue"}}),
    ]
    assert isinstance(got[-1], Usage)


async def test_a_handler_names_its_lane() -> None:
    got: list[Any] = []

    async def handler(_context: Any, events: AsyncIterator[Any]) -> None:
        async for delta in deltas(events, name="scout"):
            got.append(delta)  # noqa: PERF401

    await Agent(FakeModel(custom_output_text="Blue")).run("Why?", event_stream_handler=handler)
    lanes = [Other("data", {"kind": "lane", "name": name}) for name in ("scout", "")]
    assert got == [lanes[0], Text("Bl"), Text("ue"), lanes[1]]


async def test_a_failed_run_has_its_usage_and_a_closed_one_is_stopped() -> None:
    async def breaks(_messages: list[Any], _info: Any) -> AsyncIterator[str]:
        yield "Because "
        raise KeyError("swordfish")

    got: list[Any] = []

    async def run() -> None:
        async for delta in deltas(Agent(FunctionModel(stream_function=breaks)).run_stream_events("Why?")):
            got.append(delta)  # noqa: PERF401

    with pytest.raises(KeyError):
        await run()
    assert got[0] == Text("Because ")
    async with aclosing(deltas(agent.run_stream_events("Why?"))) as reading:
        await anext(reading)  # a task that is left fails the test
