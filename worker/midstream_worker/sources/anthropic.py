"""Anthropic by its messages API."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import anthropic

from midstream.attempts.delta import (
    Delta,
    Finish,
    FinishReason,
    Other,
    ToolCall,
    ToolInput,
    Upstream,
)
from midstream.attempts.surrogates import SurrogateJoiner
from midstream.log.entries import Json
from midstream_worker.sources import anthropic_input
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.one_connection import OneConnection
from midstream_worker.sources.plain_events import plain_anthropic, reading
from midstream_worker.sources.provider_json import Budget, figure, member, piece, text, usage, written
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.text_runs import TextRuns
from midstream_worker.sources.upstream_events import events

_REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "length",  # tools that run at the provider have paused, so the answer is not whole
}


class AnthropicMessages(OneConnection):
    """Yields a message's deltas.

    Args:
        client: An SDK client that never retries.
        failures: The provider's table of failures.
        max_output_bytes: Most bytes of one answer that are held back until the end of their block.
    """

    paid = True

    def __init__(self, client: anthropic.AsyncAnthropic, failures: Failures, *, max_output_bytes: int) -> None:
        self._client = client
        self._failures = failures
        self._max_output_bytes = max_output_bytes
        self._iterate = reading("anthropic", client, plain_anthropic)

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas."""
        body = anthropic_input.body(prompt) | {"stream": True}
        call: Any = self._client.post(
            "/v1/messages",
            body=body,
            cast_to=object,
            options={"headers": anthropic_input.headers(prompt)},
            stream=True,
            stream_cls=anthropic.AsyncStream[object],
        )
        reader = _EventReader(Budget(self._max_output_bytes))
        async with aclosing(events(call, self._failures, reader.read, self._iterate)) as incoming:
            async for deltas in incoming:
                for delta in deltas:
                    yield delta
                if reader.finished:
                    return
        raise self._failures.incomplete()

    async def aclose(self) -> None:
        """Close the source's connections."""
        await self._client.close()


class _EventReader:
    """Reads one message's events; it is `finished` after the `message_stop`."""

    def __init__(self, budget: Budget) -> None:
        self.finished = False
        self._budget = budget
        self._runs = TextRuns()
        self._input = SurrogateJoiner()
        self._block: Json = {}
        self._arguments: list[str] = []
        self._signature: list[str] = []
        self._stop_reason = ""
        self._stop_sequence = ""
        self._counted: Json = {}

    def read(self, event: Json) -> Iterator[Delta]:
        match event.get("type"):
            case "message_start":
                message = member(event, "message")
                self._count(message)
                yield Upstream(text(message, "id"))
            case "content_block_start":
                self._block, self._arguments, self._signature = member(event, "content_block"), [], []
                yield from self._runs.text(piece(self._block, "text"))
            case "content_block_delta":
                yield from self._read_delta(member(event, "delta"))
            case "content_block_stop":
                yield from self._end_block()
            case "message_delta":
                delta = member(event, "delta")
                self._stop_reason = piece(delta, "stop_reason") or self._stop_reason
                self._stop_sequence = text(delta, "stop_sequence") or self._stop_sequence
                self._count(event)
            case "message_stop":
                self.finished = True
                yield from self._ending()

    def _read_delta(self, delta: Json) -> Iterator[Delta]:
        match delta.get("type"):
            case "text_delta":
                yield from self._runs.text(piece(delta, "text"))
            case "thinking_delta":
                yield from self._runs.reasoning(piece(delta, "thinking"))
            case "signature_delta":
                self._signature.append(self._hold(text(delta, "signature")))
            # Tools that run at the provider write their input by the same deltas, but the client does not call them.
            case "input_json_delta" if self._block.get("type") == "tool_use":
                if words := self._input.push(piece(delta, "partial_json")):
                    self._arguments.append(self._hold(words))
                    yield ToolInput(text(self._block, "id"), text(self._block, "name"), words)
            case "citations_delta":
                cited = member(delta, "citation")
                if url := text(cited, "url"):
                    yield Other("source", {"id": url, "url": url, "title": text(cited, "title") or None})

    def _end_block(self) -> Iterator[Delta]:
        yield from self._runs.end_reasoning()
        yield from self._runs.end_text()
        match self._block.get("type"):
            case "tool_use":
                # Compatible servers send a call's whole input at its start.
                arguments = "".join(self._arguments) or written(member(self._block, "input"))
                yield ToolCall(text(self._block, "id"), text(self._block, "name"), arguments)
            case "thinking" if self._signature:
                yield Other("data", {"kind": "reasoning_signature", "signature": "".join(self._signature)})
            case "redacted_thinking":
                yield Other("data", {"kind": "redacted_reasoning", "data": text(self._block, "data")})

    def _hold(self, words: str) -> str:
        """Count words that are held back until the end of their block, and return them."""
        self._budget.spend(len(words))
        return words

    def _count(self, holder: Json) -> None:
        """Remember the figures of a usage object; those of a later one replace earlier ones."""
        self._counted |= {name: count for name, count in member(holder, "usage").items() if count is not None}

    def _ending(self) -> Iterator[Delta]:
        if self._stop_sequence:
            yield Other("data", {"kind": "stop_sequence", "sequence": self._stop_sequence})
        details = {name: figure(self._counted, name) for name in self._counted if name.startswith("cache_")}
        if counted := usage(self._counted, ("input_tokens", "output_tokens"), details):
            yield counted
        yield Finish(_REASONS.get(self._stop_reason, "stop"))
