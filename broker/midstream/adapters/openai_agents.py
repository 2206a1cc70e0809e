"""OpenAI Agents SDK: `deltas(Runner.run_streamed(…))`."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from midstream.adapters.run_facts import Tokens, lane, read_by, structured, tool_result
from midstream.attempts.delta import Delta, Finish, FinishReason, Other, Reasoning, Text, ToolCall, ToolInput
from midstream.log.entries import DATA, SOURCE

_REASONS: Final[dict[Any, FinishReason]] = {"max_output_tokens": "length", "content_filter": "content_filter"}


async def deltas(run: Any) -> AsyncGenerator[Delta]:
    """Yield the deltas of a streamed run; closing this cancels the run.

    What another agent writes after a handoff comes in its lane. A final output that is no text becomes `data` of kind
    `object`.
    """
    reader = _Reader(run.current_agent.name)
    try:
        async with aclosing(read_by(reader.read, run.stream_events(), partial(_ending, run))) as read:
            async for delta in read:
                yield delta
    finally:
        if not run.is_complete:
            run.cancel()
    for delta in reader.finish:
        yield delta


def _ending(run: Any) -> Iterator[Delta]:
    if run.final_output is not None and not isinstance(run.final_output, str):
        yield structured(run.final_output)
    counted = run.context_wrapper.usage
    tokens = Tokens().add(input_tokens=counted.input_tokens, output_tokens=counted.output_tokens)
    tokens.add(cached_tokens=counted.input_tokens_details.cached_tokens)
    yield from tokens.add(reasoning_tokens=counted.output_tokens_details.reasoning_tokens).usage()


class _Reader:
    """What has been read of a run.

    Attributes:
        finish: Why the last answer ended, if that is worth a word.
    """

    def __init__(self, agent: str) -> None:
        self.finish: list[Finish] = []
        self._agent = self._first = agent
        self._calls: dict[int, tuple[str, str]] = {}  # place in the response: id and name

    def read(self, event: Any) -> Iterator[Delta]:
        match event.type:
            case "raw_response_event":
                yield from self._raw(event.data)
            case "agent_updated_stream_event" if event.new_agent.name != self._agent:
                self._agent = event.new_agent.name
                yield lane("" if self._agent == self._first else self._agent)
            case "run_item_stream_event" if event.name in ("tool_output", "handoff_occured"):
                raw = event.item.raw_item
                fields = raw if isinstance(raw, dict) else raw.model_dump()
                yield tool_result(fields.get("call_id"), None, getattr(event.item, "output", fields.get("output")))

    def _raw(self, event: Any) -> Iterator[Delta]:
        match event.type:
            case "response.output_text.delta":
                yield Text(event.delta)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield Reasoning(event.delta)
            case "response.refusal.done":
                yield Other(DATA, {"kind": "refusal", "text": event.refusal})
            case "response.output_text.annotation.added":
                cited = event.annotation if isinstance(event.annotation, dict) else event.annotation.model_dump()
                if cited.get("url"):
                    yield Other(SOURCE, {"url": cited["url"], "title": cited.get("title")})
            case "response.completed" | "response.incomplete":
                details = event.response.incomplete_details
                reason = details.reason if details else None
                self.finish = [Finish(_REASONS[reason])] if reason in _REASONS else []
            case _:
                yield from self._call(event)

    def _call(self, event: Any) -> Iterator[Delta]:
        match event.type:
            case "response.output_item.added" if event.item.type == "function_call":
                self._calls[event.output_index] = event.item.call_id, event.item.name
            case "response.function_call_arguments.delta" if event.output_index in self._calls and event.delta:
                yield ToolInput(*self._calls[event.output_index], event.delta)
            case "response.output_item.done" if event.item.type == "function_call":
                yield ToolCall(event.item.call_id, event.item.name, event.item.arguments)
