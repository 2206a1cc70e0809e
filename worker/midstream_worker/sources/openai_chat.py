"""OpenAI chat completions: OpenAI's older API, the local model, and every compatible server."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import openai

from midstream_worker.sources import chat_input
from midstream_worker.sources.deltas import (
    Delta,
    Finish,
    FinishReason,
    Other,
    Reasoning,
    Text,
    ToolCall,
    ToolInput,
    Upstream,
    Usage,
)
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.one_connection import OneConnection
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.surrogates import SurrogateJoiner, joined
from midstream_worker.sources.upstream_events import events

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAIChat(OneConnection):
    """Yields a chat completion's deltas.

    Args:
        client: An SDK client that never retries.
        failures: The provider's table of failures.
        paid: Whether a call may cost money.
    """

    def __init__(self, client: openai.AsyncOpenAI, failures: Failures, *, paid: bool) -> None:
        self.paid = paid
        self._client = client
        self._failures = failures

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas."""
        body = chat_input.body(prompt)
        call: Any = self._client.chat.completions.create(
            model=prompt.model, messages=body["messages"], stream=True, extra_body=body
        )
        reader = _ChunkReader()
        async with aclosing(events(call, self._failures)) as incoming:
            async for chunk in incoming:
                for delta in reader.read(chunk):
                    yield delta
        if reader.reason is None:
            raise self._failures.incomplete()
        for delta in reader.ending():
            yield delta

    async def aclose(self) -> None:
        """Close the source's connections."""
        await self._client.close()


@dataclass(slots=True)
class _Call:
    id: str
    name: str = ""
    arguments: str = ""
    joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)


class _ChunkReader:
    """Reads one completion's chunks; `reason` is the provider's finish reason as soon as it has come."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._announced = False
        self._text = SurrogateJoiner()
        self._reasoning = SurrogateJoiner()
        self._refusal = ""
        self._calls: dict[int, _Call] = {}
        self._usage: Any = None

    def read(self, chunk: Any) -> Iterator[Delta]:
        if not self._announced and chunk.id:
            self._announced = True
            yield Upstream(chunk.id)
        self._usage = chunk.usage or self._usage
        for choice in (chunk.choices or ())[:1]:
            self.reason = choice.finish_reason or self.reason
            if choice.delta is not None:
                yield from self._read_delta(choice.delta)

    def _read_delta(self, delta: Any) -> Iterator[Delta]:
        # Reasoning is no part of the API; servers that have it name it in one of two ways.
        thought = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        if isinstance(thought, str) and (piece := self._reasoning.push(thought)):
            yield Reasoning(piece)
        if delta.content and (piece := self._text.push(delta.content)):
            yield Text(piece)
        self._refusal += delta.refusal or ""
        for position, fragment in enumerate(delta.tool_calls or ()):
            index = position if fragment.index is None else fragment.index
            call = self._calls.setdefault(index, _Call(fragment.id or f"call_{index}"))
            function = fragment.function
            if function is None:
                continue
            call.name = call.name or function.name or ""
            if piece := call.joiner.push(function.arguments or ""):
                call.arguments += piece
                yield ToolInput(call.id, call.name, piece)

    def ending(self) -> Iterator[Delta]:
        """Yield what is known only when all chunks have been read."""
        if rest := self._reasoning.flush():
            yield Reasoning(rest)
        if rest := self._text.flush():
            yield Text(rest)
        for _, call in sorted(self._calls.items()):
            yield ToolCall(call.id, call.name, call.arguments or "{}")
        if self._refusal:
            yield Other("data", {"kind": "refusal", "text": joined(self._refusal)})
        if self._usage:
            yield _usage(self._usage)
        yield Finish(self._finish_reason())

    def _finish_reason(self) -> FinishReason:
        reason = _REASONS.get(self.reason or "", "stop")
        if reason == "stop" and self._refusal:
            return "refusal"
        return "tool_calls" if reason == "stop" and self._calls else reason


def _usage(counted: Any) -> Usage:
    details = {
        "cached_tokens": getattr(counted.prompt_tokens_details, "cached_tokens", None),
        "reasoning_tokens": getattr(counted.completion_tokens_details, "reasoning_tokens", None),
    }
    known = {name: count for name, count in details.items() if count is not None}
    return Usage(counted.prompt_tokens or 0, counted.completion_tokens or 0, known)
