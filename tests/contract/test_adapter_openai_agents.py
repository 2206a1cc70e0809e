"""The OpenAI Agents SDK's own runner with its scripted model (PROTOCOL: Adapters/Entries, Adapters/Lanes)."""

from contextlib import aclosing
from typing import Any

import pytest
from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agents.usage import Usage as Counted
from openai.types.responses.response_reasoning_item import ResponseReasoningItem, Summary
from pydantic import BaseModel

import midstream
from midstream.adapters.openai_agents import deltas
from midstream.attempts.delta import Other, Reasoning, Text, ToolCall, ToolInput, Usage
from midstream.settings import Settings
from tests import inside

set_tracing_disabled(disabled=True)
THOUGHT = ResponseReasoningItem(id="r1", type="reasoning", summary=[Summary(text="Hm.", type="summary_text")])


class Colour(BaseModel):
    name: str


@function_tool  # type: ignore[untyped-decorator]
def look(at: str) -> str:
    """Look at something."""
    return f"The {at} is blue."


def agent(*steps: Any, **fields: Any) -> Any:
    counted = Counted(requests=1, input_tokens=3, output_tokens=5, total_tokens=8)
    model = ScriptedModel([step if isinstance(step, Exception) else ModelStep(step, usage=counted) for step in steps])
    return Agent(**{"name": "main", "model": model, "tools": [look], **fields})


async def test_a_run_with_a_handoff() -> None:
    answer = [assistant_message('{"name":"blue"}')]
    scout = agent([function_call("look", {"at": "sky"}, call_id="c2")], answer, name="scout", output_type=Colour)
    handoff = function_call("transfer_to_scout", "{}", call_id="c1")
    main = agent([THOUGHT, assistant_message("Let me look. "), handoff], handoffs=[scout])
    assert [delta async for delta in deltas(Runner.run_streamed(main, "Why?"))] == [
        Reasoning("Hm."),
        Text("Let me look. "),
        ToolInput("c1", "transfer_to_scout", "{}"),
        ToolCall("c1", "transfer_to_scout", "{}"),
        Other("tool_result", {"id": "c1", "output": '{"assistant": "scout"}'}),
        Other("data", {"kind": "lane", "name": "scout"}),
        ToolInput("c2", "look", '{"at":"sky"}'),
        ToolCall("c2", "look", '{"at":"sky"}'),
        Other("tool_result", {"id": "c2", "output": "The sky is blue."}),
        Text('{"name":"blue"}'),
        Other("data", {"kind": "object", "value": {"name": "blue"}}),
        Usage(9, 15, {}),
    ]


async def test_a_run_that_fails_is_a_stream_that_failed(settings: Settings) -> None:
    """With the tokens that it has used, and without the words of the exception."""
    fails = agent([function_call("look", {"at": "sky"}, call_id="c1")], KeyError("swordfish"))

    async def produce() -> None:
        async with out:
            async for delta in deltas(Runner.run_streamed(fails, "Why?")):
                await out.write(delta)

    async with inside.broker(settings) as client:
        out = midstream.produce(settings.redis_address)
        with pytest.raises(KeyError):
            await produce()
        state = (await client.get(f"/v1/streams/{out.id}")).json()
    assert (state["outcome"], state["error"]["code"], state["usage"]["output_tokens"]) == ("failed", "source_error", 5)
    assert state["error"]["message"] == "The producer raised KeyError."


async def test_closing_cancels_the_run() -> None:
    run = Runner.run_streamed(agent([assistant_message("Because of the air.")]), "Why?")
    async with aclosing(deltas(run)) as reading:
        assert await anext(reading) == Text("Because of the air.")
    assert run.is_complete
