"""OpenAI chat completions: OpenAI's older API, the local model, and every compatible server."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import openai

from midstream.attempts.delta import (
    Delta,
    Finish,
    FinishReason,
    Other,
    ToolCall,
    ToolInput,
    Upstream,
    Usage,
)
from midstream.attempts.surrogates import SurrogateJoiner, joined
from midstream.log.entries import Json
from midstream_worker.sources import chat_input
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.one_connection import OneConnection
from midstream_worker.sources.plain_events import plain_openai, reading
from midstream_worker.sources.provider_json import (
    CALL_BYTES,
    Budget,
    figure,
    member,
    objects,
    piece,
    text,
    usage,
    written,
)
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.text_runs import TextRuns
from midstream_worker.sources.upstream_events import events

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_BROKEN_OFF = "error"
"""The finish reason of routers (OpenRouter) whose own upstream failed in mid-answer."""


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
        self._iterate = reading("openai", client, plain_openai)

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas."""
        body = chat_input.body(prompt, at_openai=self._at_openai) | {"stream": True}
        call: Any = self._client.post(
            "/chat/completions", body=body, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
        )
        reader = _ChunkReader(Budget(self._max_output_bytes))
        async with aclosing(events(call, self._failures, reader.read, self._iterate)) as incoming:
            async for deltas in incoming:
                for delta in deltas:
                    yield delta
        if reader.reason in (None, _BROKEN_OFF):
            raise self._failures.incomplete()
        for delta in reader.ending():
            yield delta

    async def aclose(self) -> None:
        """Close the source's connections."""
        await self._client.close()


@dataclass(slots=True)
class _Call:
    id: str
    own_id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)


class _ChunkReader:
    """Reads one completion's chunks; `reason` is the provider's finish reason, once it has come."""

    def __init__(self, budget: Budget) -> None:
        self.reason: str | None = None
        self._budget = budget
        self._announced = False
        self._runs = TextRuns()
        self._refusal: list[str] = []
        self._calls: list[_Call] = []
        self._call_at: dict[int, _Call] = {}
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
        # OpenAI's API has no reasoning here; other servers have it under one of two names.
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            yield from self._runs.reasoning(thought)
        if isinstance(delta.get("content"), list):  # Mistral's models that reason
            for part in objects(delta, "content"):
                yield from self._read_part(part)
        else:
            yield from self._runs.text(piece(delta, "content"))
        if refused := piece(delta, "refusal"):
            self._budget.spend(len(refused))
            self._refusal.append(refused)
        for position, fragment in enumerate(objects(delta, "tool_calls")):
            yield from self._read_call(position, fragment)

    def _read_part(self, part: Json) -> Iterator[Delta]:
        for thought in objects(part, "thinking"):
            yield from self._runs.reasoning(piece(thought, "text"))
        yield from self._runs.text(piece(part, "text"))

    def _read_call(self, position: int, fragment: Json) -> Iterator[Delta]:
        function = member(fragment, "function")
        call = self._call_of(position, fragment, text(function, "name"))
        if words := call.joiner.push(_arguments(function)):
            self._budget.spend(len(words))
            call.arguments.append(words)
            yield ToolInput(call.id, call.name, words)

    def _call_of(self, position: int, fragment: Json, name: str) -> _Call:
        """Return the call that a fragment belongs to.

        Some servers send each call whole, and all of them at index 0 (Ollama) or without an index (Gemini): there, a
        name with another id, or with neither index nor id, begins the next call. An id alone does not begin one: vLLM
        made up an id for each fragment.
        """
        call_id, index = text(fragment, "id"), figure(fragment, "index")
        at = position if index is None else index
        call = self._call_at.get(at)
        whole = call_id != call.own_id if call is not None and call_id else index is None
        if call is None or (name and call.name and whole):
            self._budget.spend(CALL_BYTES)
            call = _Call(call_id or f"call_{len(self._calls)}", call_id)
            self._calls.append(call)
            self._call_at[at] = call
        call.name = call.name or name
        return call

    def ending(self) -> Iterator[Delta]:
        """Yield what is certain only after the last chunk."""
        yield from self._runs.end_reasoning()
        yield from self._runs.end_text()
        for call in self._calls:
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


def _arguments(function: Json) -> str:
    """Return a piece of a call's arguments; some local servers send them as an object."""
    if isinstance(whole := function.get("arguments"), dict):
        return written(whole)
    return piece(function, "arguments")


def _usage(counted: Json) -> Usage | None:
    details = {
        "cached_tokens": figure(counted.get("prompt_tokens_details"), "cached_tokens"),
        "reasoning_tokens": figure(counted.get("completion_tokens_details"), "reasoning_tokens"),
    }
    return usage(counted, ("prompt_tokens", "completion_tokens"), details)
