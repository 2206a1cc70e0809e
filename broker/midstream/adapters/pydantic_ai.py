"""pydantic-ai: `deltas(agent.run_stream_events(…))`, or in an event stream handler `deltas(events)`."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any, Final

from midstream.adapters.run_facts import Tokens, custom, lane, read_by, structured, tool_result
from midstream.attempts.delta import Delta, Finish, FinishReason, Other, Reasoning, Text, ToolCall, ToolInput
from midstream.log.entries import FILE

_CALLS: Final = ("tool-call", "builtin-tool-call")
_REASONS: Final[dict[str, FinishReason]] = {"length": "length", "content_filter": "content_filter"}


async def deltas(events: Any, *, name: str = "") -> AsyncGenerator[Delta]:
    """Yield the deltas of a run; closing this stops the run.

    Usage and a structured output (`data` of kind `object`) come with the whole run: a handler's events have neither.

    Args:
        events: What `agent.run_stream_events(…)` returns, or the events that an event stream handler is given.
        name: The lane of a sub-agent, whose run is an event stream of its own.
    """
    calls: dict[int, tuple[str, str]] = {}
    begun, is_whole = False, hasattr(events, "__aenter__")
    async with AsyncExitStack() as stack:
        if is_whole:
            events = await stack.enter_async_context(events)
        read = read_by(partial(_read, calls), events, partial(_ending, events) if is_whole else list)
        async for delta in await stack.enter_async_context(aclosing(read)):
            if name and not begun:
                yield lane(name)
                begun = True
            yield delta
    if begun:
        yield lane("")


def _ending(run: Any) -> Iterator[Delta]:
    counted = run.usage
    tokens = Tokens().add(input_tokens=counted.input_tokens, output_tokens=counted.output_tokens)
    tokens.add(reasoning_tokens=counted.details.get("reasoning_tokens"))
    yield from tokens.add(cached_tokens=counted.cache_read_tokens).usage()
    if run.result and (reason := _REASONS.get(run.result.response.finish_reason or "")):
        yield Finish(reason)


def _read(calls: dict[int, tuple[str, str]], event: Any) -> Iterator[Delta]:
    match event.event_kind:
        case "part_start":
            yield from _started(event.part, event.index, calls)
        case "part_delta":
            yield from _pieces(event.delta, calls.get(event.index))
        case "part_end" if event.part.part_kind in _CALLS:
            part = event.part
            arguments = part.args if isinstance(part.args, str) and part.args else part.args_as_json_str()
            yield ToolCall(part.tool_call_id, part.tool_name, arguments)
        case "function_tool_result" | "output_tool_result":
            yield _result(event.part)
        case "custom":
            yield custom(event.name, event.to_payload())
        case "agent_run_result" if not isinstance(event.result.output, str):
            yield structured(event.result.output)


def _started(part: Any, index: int, calls: dict[int, tuple[str, str]]) -> Iterator[Delta]:
    match part.part_kind:
        case "text" if part.content:
            yield Text(part.content)
        case "thinking" if part.content:
            yield Reasoning(part.content)
        case "tool-call" | "builtin-tool-call":
            calls[index] = part.tool_call_id, part.tool_name
            if isinstance(part.args, str) and part.args:
                yield ToolInput(*calls[index], part.args)
        case "builtin-tool-return":
            yield _result(part)
        case "file":
            yield Other(FILE, {"media_type": part.content.media_type, "data": part.content.base64})


def _pieces(delta: Any, call: tuple[str, str] | None) -> Iterator[Delta]:
    match delta.part_delta_kind:
        case "text" if delta.content_delta:
            yield Text(delta.content_delta)
        case "thinking" if delta.content_delta:
            yield Reasoning(delta.content_delta)
        case "tool_call" if call and isinstance(delta.args_delta, str) and delta.args_delta:
            yield ToolInput(*call, delta.args_delta)


def _result(part: Any) -> Delta:
    failed = None if part.outcome == "success" else part.outcome  # failed, denied, …
    return tool_result(part.tool_call_id, part.tool_name, part.content, failed)
