"""OpenAI chat completions: OpenAI's older API, the local model, and every compatible server."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
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
from midstream_worker.sources.provider_json import CALL_BYTES, Budget, Json, figure, member, objects, piece, text, usage
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
        max_output_bytes: Most bytes of one answer that are held back until its end.
        at_openai: Whether the server is OpenAI's own.
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        failures: Failures,
        *,
        paid: bool,
        max_output_bytes: int,
        at_openai: bool = False,
    ) -> None:
        self.paid = paid
        self._at_openai = at_openai
        self._client = client
        self._failures = failures
        self._max_output_bytes = max_output_bytes

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas."""
        body = chat_input.body(prompt, at_openai=self._at_openai) | {"stream": True}
        call: Any = self._client.post(
            "/chat/completions", body=body, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
        )
        reader = _ChunkReader(Budget(self._max_output_bytes))
        async with aclosing(events(call, self._failures, reader.read)) as incoming:
            async for deltas in incoming:
                for delta in deltas:
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
    arguments: list[str] = field(default_factory=list)
    joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)


class _ChunkReader:
    """Reads one completion's chunks; `reason` is the provider's finish reason as soon as it has come."""

    def __init__(self, budget: Budget) -> None:
        self.reason: str | None = None
        self._budget = budget
        self._announced = False
        self._text = SurrogateJoiner()
        self._reasoning = SurrogateJoiner()
        self._refusal: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._usage: Json = {}

    def read(self, chunk: Json) -> Iterator[Delta]:
        if not self._announced and isinstance(chunk.get("id"), str):
            self._announced = True
            yield Upstream(text(chunk, "id"))
        self._usage = member(chunk, "usage") or self._usage
        for choice in islice(objects(chunk, "choices"), 1):
            self.reason = piece(choice, "finish_reason") or self.reason
            yield from self._read_delta(member(choice, "delta"))

    def _read_delta(self, delta: Json) -> Iterator[Delta]:
        # Reasoning is no part of the API; servers that have it name it in one of two ways.
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and (thinking := self._reasoning.push(thought)):
            yield Reasoning(thinking)
        if words := self._text.push(piece(delta, "content")):
            yield Text(words)
        if refused := piece(delta, "refusal"):
            self._budget.spend(len(refused))
            self._refusal.append(refused)
        for position, fragment in enumerate(objects(delta, "tool_calls")):
            yield from self._read_call(position, fragment)

    def _read_call(self, position: int, fragment: Json) -> Iterator[Delta]:
        index = figure(fragment, "index")
        index = position if index is None else index
        if index not in self._calls:
            self._budget.spend(CALL_BYTES)
            self._calls[index] = _Call(text(fragment, "id") or f"call_{index}")
        call, function = self._calls[index], member(fragment, "function")
        call.name = call.name or text(function, "name")
        if written := call.joiner.push(piece(function, "arguments")):
            self._budget.spend(len(written))
            call.arguments.append(written)
            yield ToolInput(call.id, call.name, written)

    def ending(self) -> Iterator[Delta]:
        """Yield what is known only when all chunks have been read."""
        if rest := self._reasoning.flush():
            yield Reasoning(rest)
        if rest := self._text.flush():
            yield Text(rest)
        for _, call in sorted(self._calls.items()):
            yield ToolCall(call.id, call.name, "".join(call.arguments) or "{}")
        if self._refusal:
            yield Other("data", {"kind": "refusal", "text": joined("".join(self._refusal))})
        if counted := _usage(self._usage):
            yield counted
        yield Finish(self._finish_reason())

    def _finish_reason(self) -> FinishReason:
        reason = _REASONS.get(self.reason or "", "stop")
        if reason == "stop" and self._refusal:
            return "refusal"
        return "tool_calls" if reason == "stop" and self._calls else reason


def _usage(counted: Json) -> Usage | None:
    details = {
        "cached_tokens": figure(counted.get("prompt_tokens_details"), "cached_tokens"),
        "reasoning_tokens": figure(counted.get("completion_tokens_details"), "reasoning_tokens"),
    }
    return usage(counted, ("prompt_tokens", "completion_tokens"), details)
