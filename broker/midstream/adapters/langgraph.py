"""LangGraph and LangChain: `deltas(graph.astream_events(…, version="v2"))`."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, Final

import orjson

from midstream.adapters.run_facts import Tokens, custom, lane, plain, read_by, structured, tool_result
from midstream.attempts.delta import Delta, Other, Reasoning, Text, ToolCall, ToolInput
from midstream.log.entries import SOURCE

HIDDEN: Final = "nostream"  # LangGraph's tag for a model whose words are for nobody


def deltas(events: AsyncIterator[Any]) -> AsyncGenerator[Delta]:
    """Return the deltas of a graph's, an agent's or a chain's events; closing them closes the events.

    What a sub-graph writes comes in its lane: the `name` of an agent, or else the node at which the sub-graph is. The
    `structured_response` of an agent becomes `data` of kind `object`, and a custom event `data` of its name.
    """
    run = _Run()
    return read_by(run.read, events, run.tokens.usage)


class _Run:
    def __init__(self) -> None:
        self.tokens = Tokens()
        self._root: str | None = None  # the name of the agent whose run it is
        self._lane = ""
        self._calls: dict[tuple[str, Any], tuple[str, str]] = {}  # run of a model, and index: id and name
        self._written: dict[str, str] = {}  # id of a call: its arguments so far
        self._streamed: set[str] = set()  # runs of models whose words came in pieces

    def read(self, event: Any) -> Iterator[Delta]:
        data, kind, metadata = event["data"], event["event"], event["metadata"]
        if self._root is None:
            self._root = metadata.get("lc_agent_name", "")
        for delta in self._content(kind, event, data):
            if (name := self._lane_of(metadata)) != self._lane:
                self._lane = name
                yield lane(name)
            yield delta
        if kind == "on_chat_model_end" and (counted := getattr(data["output"], "usage_metadata", None)):
            read, written = (counted.get(f"{way}_token_details") or {} for way in ("input", "output"))
            self.tokens.add(input_tokens=counted["input_tokens"], output_tokens=counted["output_tokens"])
            self.tokens.add(cached_tokens=read.get("cache_read"), reasoning_tokens=written.get("reasoning"))

    def _content(self, kind: str, event: Any, data: Any) -> Iterator[Delta]:
        run, is_shown = event["run_id"], HIDDEN not in event["tags"]
        if kind == "on_chat_model_stream" and is_shown:
            self._streamed.add(run)
            yield from self._words(run, data["chunk"])
        elif kind == "on_chat_model_end" and is_shown:
            message = data["output"]
            yield from () if run in self._streamed else self._words(run, message)
            for call in (*message.tool_calls, *message.invalid_tool_calls):
                if call["id"] and call["name"]:
                    arguments = self._written.pop(call["id"], "") or orjson.dumps(plain(call["args"])).decode()
                    yield ToolCall(call["id"], call["name"], arguments)
        elif kind == "on_tool_end":
            yield from _results(event["name"], data["output"])
        elif kind == "on_tool_error":
            yield tool_result(data.get("tool_call_id"), event["name"], None, error=type(data["error"]).__name__)
        elif kind == "on_custom_event":
            yield custom(event["name"], data)
        elif kind == "on_chain_end" and not event["parent_ids"] and isinstance(data.get("output"), dict):
            output = data["output"].get("structured_response")
            yield from () if output is None else (structured(output),)

    def _words(self, run: str, message: Any) -> Iterator[Delta]:
        for block in message.content_blocks:
            if thought := block.get("reasoning"):
                yield Reasoning(thought)
            if block["type"] == "text" and block["text"]:
                yield Text(block["text"])
            for cited in block.get("annotations") or ():
                if cited.get("url"):
                    yield Other(SOURCE, {"url": cited["url"], "title": cited.get("title")})
        for piece in getattr(message, "tool_call_chunks", ()):
            if piece["id"] and piece["name"]:
                self._calls[run, piece["index"]] = piece["id"], piece["name"]
            if piece["args"] and (call := self._calls.get((run, piece["index"]))):
                self._written[call[0]] = self._written.get(call[0], "") + piece["args"]
                yield ToolInput(*call, piece["args"])

    def _lane_of(self, metadata: Any) -> str:
        name: str = metadata.get("lc_agent_name", "")
        nodes = [step.partition(":")[0] for step in metadata.get("langgraph_checkpoint_ns", "").split("|")]
        return name if name and name != self._root else nodes[-2] if len(nodes) > 1 else ""


def _results(name: str, output: Any) -> Iterator[Delta]:
    """Yield a tool's result: a message of LangChain's, a `Command` with such messages, or the value alone."""
    update = getattr(output, "update", None)
    messages: Any = update.get("messages") if isinstance(update, dict) else output
    for message in messages if isinstance(update, dict) and isinstance(messages, list | tuple) else [messages]:
        if isinstance(call_id := getattr(message, "tool_call_id", None), str):
            failed = str(message.content) if getattr(message, "status", "") == "error" else None
            yield tool_result(call_id, name, message.content, failed)
        elif message is output:
            yield tool_result(None, name, output)
