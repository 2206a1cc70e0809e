"""Turns the events of one OpenAI response into deltas."""

from collections.abc import Iterator
from typing import Any

from midstream_worker.sources.deltas import (
    Delta,
    Finish,
    FinishReason,
    Other,
    Reasoning,
    Text,
    ToolCall,
    ToolInput,
    Usage,
)
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.surrogates import SurrogateJoiner, joined


class ResponseReader:
    """Reads one response's events, in order and from its first one.

    The events of a tool call's arguments do not repeat its name, and a character may be cut in half: so what an
    event means depends on those before it.

    Attributes:
        finished: Whether the terminal event was among them.
    """

    def __init__(self, failures: Failures) -> None:
        self.finished = False
        self._failures = failures
        self._text = SurrogateJoiner()
        self._reasoning = SurrogateJoiner()
        self._arguments = SurrogateJoiner()
        self._calls: dict[str, Any] = {}
        self._refused = False

    def read(self, event: Any) -> Iterator[Delta]:
        """Yield what the event brings.

        Raises:
            SourceError: The response failed.
        """
        match event.type:
            case "response.refusal.done":
                self._refused = True
                yield refusal(event.refusal)
            case "response.completed" | "response.incomplete":
                self.finished = True
                yield from ending(event.response, refused=self._refused, called=bool(self._calls))
            case "response.failed":
                raise failed(event.response, self._failures)
            case "error":
                raise self._failures.of_report({"code": event.code, "message": event.message})
            case _:
                yield from self._words(event)
                yield from _cipher(event)
                yield from self._tool_call(event)

    def _words(self, event: Any) -> Iterator[Delta]:
        match event.type:
            case "response.output_text.delta":
                yield from _text(self._text.push(event.delta))
            case "response.output_text.done":
                yield from _text(self._text.flush())
            case "response.output_text.annotation.added":
                yield from _citation(event)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield from _reasoning(self._reasoning.push(event.delta))
            case "response.reasoning_summary_text.done" | "response.reasoning_text.done":
                yield from _reasoning(self._reasoning.flush())
            case "response.reasoning_summary_part.added" if event.summary_index > 0:
                yield Reasoning("\n\n")

    def _tool_call(self, event: Any) -> Iterator[Delta]:
        match event.type:
            case "response.output_item.added" if event.item.type == "function_call":
                self._calls[event.item.id] = event.item
            case "response.function_call_arguments.delta":
                call = self._calls[event.item_id]
                if piece := self._arguments.push(event.delta):
                    yield ToolInput(call.call_id, call.name, piece)
            case "response.output_item.done" if event.item.type == "function_call":
                yield ToolCall(event.item.call_id, event.item.name, joined(event.item.arguments))


def refusal(text: str) -> Other:
    """Return the entry that tells what a model said instead of an answer."""
    return Other("data", {"kind": "refusal", "text": joined(text)})


def ending(response: Any, *, refused: bool, called: bool) -> Iterator[Delta]:
    """Yield usage and finish of a response that ended as it should."""
    if usage := response.usage:
        details = {
            "cached_tokens": getattr(usage.input_tokens_details, "cached_tokens", None),
            "reasoning_tokens": getattr(usage.output_tokens_details, "reasoning_tokens", None),
        }
        known = {name: count for name, count in details.items() if count is not None}
        yield Usage(usage.input_tokens, usage.output_tokens, known)
    yield Finish(_reason(response, refused=refused, called=called))


def failed(response: Any, failures: Failures) -> Exception:
    """Return the failure that a failed or cancelled response tells of."""
    error = response.error
    if error is None:
        return failures.of_report({"message": f"the response is {response.status}"})
    return failures.of_report({"code": error.code, "message": error.message})


def _reason(response: Any, *, refused: bool, called: bool) -> FinishReason:
    if response.status == "incomplete":
        why = getattr(response.incomplete_details, "reason", None)
        return "content_filter" if why == "content_filter" else "length"
    if refused:
        return "refusal"
    return "tool_calls" if called else "stop"


def _text(text: str) -> Iterator[Delta]:
    if text:
        yield Text(text)


def _reasoning(text: str) -> Iterator[Delta]:
    if text:
        yield Reasoning(text)


def _cipher(event: Any) -> Iterator[Delta]:
    """Yield a reasoning item's content in cipher, which is there if `include` asked for it."""
    if event.type == "response.output_item.done" and event.item.type == "reasoning" and event.item.encrypted_content:
        yield Other("data", {"kind": "encrypted_reasoning", "content": event.item.encrypted_content})


def _citation(event: Any) -> Iterator[Delta]:
    if getattr(event.annotation, "type", None) == "url_citation":
        cited = event.annotation
        source_id = f"{event.item_id}:{event.annotation_index}"
        yield Other("source", {"id": source_id, "url": cited.url, "title": cited.title})
