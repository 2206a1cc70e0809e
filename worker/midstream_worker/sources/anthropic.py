"""Anthropic by its messages API."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import anthropic

from midstream_worker.sources import anthropic_input
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
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "length",  # tools that run at the provider paused: what there is is not the whole answer
}


class AnthropicMessages(OneConnection):
    """Yields a message's deltas.

    Args:
        client: An SDK client that never retries.
        failures: The provider's table of failures.
    """

    paid = True

    def __init__(self, client: anthropic.AsyncAnthropic, failures: Failures) -> None:
        self._client = client
        self._failures = failures

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas."""
        body = anthropic_input.body(prompt)
        call: Any = self._client.messages.create(
            model=prompt.model,
            messages=body["messages"],
            max_tokens=body["max_tokens"],
            stream=True,
            extra_body=body,
        )
        reader = _EventReader()
        async with aclosing(events(call, self._failures)) as incoming:
            async for event in incoming:
                for delta in reader.read(event):
                    yield delta
                if reader.finished:
                    return
        raise self._failures.incomplete()

    async def aclose(self) -> None:
        """Close the source's connections."""
        await self._client.close()


class _EventReader:
    """Reads one message's events; `finished` once its `message_stop` has come."""

    def __init__(self) -> None:
        self.finished = False
        self._text = SurrogateJoiner()
        self._reasoning = SurrogateJoiner()
        self._input = SurrogateJoiner()
        self._block: Any = None
        self._arguments = ""
        self._signature = ""
        self._stop_reason = ""
        self._stop_sequence: str | None = None
        self._counted: dict[str, Any] = {}

    def read(self, event: Any) -> Iterator[Delta]:
        match event.type:
            case "message_start":
                self._count(event.message.usage)
                yield Upstream(event.message.id)
            case "content_block_start":
                self._block, self._arguments, self._signature = event.content_block, "", ""
            case "content_block_delta":
                yield from self._read_delta(event.delta)
            case "content_block_stop":
                yield from self._end_block()
            case "message_delta":
                self._stop_reason = event.delta.stop_reason or self._stop_reason
                self._stop_sequence = event.delta.stop_sequence or self._stop_sequence
                self._count(event.usage)
            case "message_stop":
                self.finished = True
                yield from self._ending()

    def _read_delta(self, delta: Any) -> Iterator[Delta]:
        match delta.type:
            case "text_delta" if piece := self._text.push(delta.text):
                yield Text(piece)
            case "thinking_delta" if piece := self._reasoning.push(delta.thinking):
                yield Reasoning(piece)
            case "signature_delta":
                self._signature += delta.signature
            # Tools that run at the provider write their input by the same deltas, but nobody is asked to call them.
            case "input_json_delta" if self._block.type == "tool_use":
                if piece := self._input.push(delta.partial_json):
                    self._arguments += piece
                    yield ToolInput(self._block.id, self._block.name, piece)
            case "citations_delta" if getattr(delta.citation, "url", None):
                cited = delta.citation
                yield Other("source", {"id": cited.url, "url": cited.url, "title": cited.title})

    def _end_block(self) -> Iterator[Delta]:
        if rest := self._reasoning.flush():
            yield Reasoning(rest)
        if rest := self._text.flush():
            yield Text(rest)
        match self._block.type:
            case "tool_use":
                yield ToolCall(self._block.id, self._block.name, self._arguments or "{}")
            case "thinking" if self._signature:
                yield Other("data", {"kind": "reasoning_signature", "signature": self._signature})
            case "redacted_thinking":
                yield Other("data", {"kind": "redacted_reasoning", "data": self._block.data})

    def _count(self, usage: Any) -> None:
        """Remember the figures of a usage object; those of a later one replace earlier ones."""
        if usage is not None:
            self._counted |= {name: count for name, count in usage.model_dump().items() if count is not None}

    def _ending(self) -> Iterator[Delta]:
        if self._stop_sequence is not None:
            yield Other("data", {"kind": "stop_sequence", "sequence": joined(self._stop_sequence)})
        if self._counted:
            details = {
                name: count
                for name, count in self._counted.items()
                if name.startswith("cache_") and isinstance(count, int)
            }
            yield Usage(self._counted.get("input_tokens", 0), self._counted.get("output_tokens", 0), details)
        yield Finish(_REASONS.get(self._stop_reason, "stop"))
