"""LangGraph's own runtime with LangChain's fake model, as a producer (PROTOCOL: Adapters/Entries, Adapters/Lanes)."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks.manager import adispatch_custom_event
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

import midstream
from midstream.adapters.langgraph import deltas
from midstream.attempts.delta import Other, Reasoning, Text, ToolCall, Usage
from midstream.settings import Settings
from tests import inside

ASK = {"messages": [HumanMessage("Why?")]}
TOKENS = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8, "input_token_details": {"cache_read": 1}}


def piece(content: Any = "", args: str | None = None, **fields: Any) -> Any:
    """Return a piece of a message; with `args`, of its call of a tool, whose first piece alone has id and name."""
    call = {"index": 0, "args": args, "id": None if args else "c1", "name": None if args else "look"}
    calls = [] if args is None else [{**call, "type": "tool_call_chunk"}]
    return AIMessageChunk(content=content, tool_call_chunks=calls, id="m1", **fields)


CALLING = [
    piece([{"type": "reasoning", "reasoning": "Hm.", "index": 0}]),
    piece("Let me look. "),
    piece(args=""),
    piece(args='{"at": '),
    piece(args='"sky"}'),
    piece(usage_metadata=TOKENS, chunk_position="last"),
]


class FakeModel(GenericFakeChatModel):  # type: ignore[misc]
    """LangChain's fake model, which can also be given the pieces of a message."""

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **further: Any) -> Iterator[Any]:
        message = next(self.messages)
        if isinstance(message, list):
            yield from (ChatGenerationChunk(message=each) for each in message)
        else:
            whole = GenericFakeChatModel(messages=iter([message]))
            yield from whole._stream(messages, stop, run_manager, **further)


@tool  # type: ignore[untyped-decorator]
def look(at: str) -> str:
    """Look at something."""
    if at == "sun":
        raise ValueError("the password is swordfish")
    return f"The {at} is blue."


def agent(*messages: Any, is_whole: bool = False) -> Any:
    """Return a graph of one model and one tool."""
    model = FakeModel(messages=iter(messages), disable_streaming=is_whole)

    async def call(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", call)
    graph.add_node("tools", ToolNode([look]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


async def read_into(got: list[Any], graph: Any) -> None:
    async for delta in deltas(graph.astream_events(ASK, version="v2")):
        got.append(delta)  # noqa: PERF401 - what came before a failure counts


async def test_a_graph_is_a_producer(settings: Settings) -> None:
    async with inside.broker(settings) as client:
        async with midstream.produce(settings.redis_address) as out:
            events = agent(CALLING, AIMessage("Of the air.")).astream_events(ASK, version="v2")
            async for delta in deltas(events):
                await out.write(delta)
        state = (await client.get(f"/v1/streams/{out.id}")).json()
        entries = (await client.get(f"/v1/streams/{out.id}/entries")).json()["data"]
    assert state["outcome"] == "completed"
    logged = [(entry["type"], {**entry["data"], "timings": None}) for entry in entries if entry["type"] != "start"]
    texts = "".join(data["text"] for kind, data in logged if kind == "text")
    assert texts == "Let me look. Of the air."
    assert [data["text"] for kind, data in logged if kind == "reasoning"] == ["Hm."]
    assert "".join(data["delta"] for kind, data in logged if kind == "tool_input") == '{"at": "sky"}'
    assert [data["arguments"] for kind, data in logged if kind == "tool_call"] == ['{"at": "sky"}']
    assert [(data["id"], data["output"]) for kind, data in logged if kind == "tool_result"] == [
        ("c1", "The sky is blue.")
    ]
    assert [(data["input_tokens"], data["details"]) for kind, data in logged if kind == "usage"] == [
        (3, {"cached_tokens": 1})
    ]


@pytest.mark.parametrize(("metadata", "lane"), [({}, "scout"), ({"lc_agent_name": "Ada"}, "Ada")])
async def test_a_sub_graph_writes_in_its_lane(metadata: dict[str, str], lane: str) -> None:
    """It has the name of the node, or that by which LangChain's `create_agent` calls its agent."""
    main = FakeModel(messages=iter(["So it is."]))

    async def say(state: Any) -> Any:
        await adispatch_custom_event("progress", {"done": 1})
        hidden = FakeModel(messages=iter(["not shown"])).with_config(tags=["nostream"])
        await hidden.ainvoke("x")
        return {"messages": [await main.ainvoke(state["messages"])], "structured_response": {"colour": "blue"}}

    class State(MessagesState):  # type: ignore[misc]
        structured_response: Any

    graph = StateGraph(State)
    graph.add_node("scout", agent("Blue.").with_config(metadata=metadata))
    graph.add_node("say", say)
    graph.add_edge(START, "scout")
    graph.add_edge("scout", "say")
    got: list[Any] = []
    await read_into(got, graph.compile())
    assert got == [
        Other("data", {"kind": "lane", "name": lane}),
        Text("Blue."),
        Other("data", {"kind": "lane", "name": ""}),
        Other("data", {"done": 1, "kind": "progress"}),
        *map(Text, ("So", " ", "it", " ", "is.")),
        Other("data", {"kind": "object", "value": {"colour": "blue"}}),
    ]


async def test_a_message_that_comes_whole_and_a_tool_that_fails() -> None:
    """The words of an exception are for nobody; the tokens that a failed run has used are counted."""
    calls = [{"name": "look", "args": {"at": "sun"}, "id": "c1"}]
    message = AIMessage("Hot? ", tool_calls=calls, usage_metadata=TOKENS)
    got: list[Any] = []
    with pytest.raises(ValueError, match="swordfish"):
        await read_into(got, agent(message, is_whole=True))
    assert got == [
        Text("Hot? "),
        ToolCall("c1", "look", '{"at":"sun"}'),
        Other("tool_result", {"id": "c1", "name": "look", "error": "ValueError"}),
        Usage(3, 5, {"cached_tokens": 1}),
    ]


async def test_closing_ends_the_graphs_run() -> None:
    reading = deltas(agent(CALLING, AIMessage("never")).astream_events(ASK, version="v2"))
    assert await anext(reading) == Reasoning("Hm.")
    await reading.aclose()  # a task that is left fails the test
