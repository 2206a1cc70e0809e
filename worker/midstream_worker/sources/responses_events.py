"""Turns the events of one OpenAI response into deltas."""

from collections.abc import Iterator

from midstream.attempts.delta import (
    Delta,
    Finish,
    FinishReason,
    Other,
    Reasoning,
    ToolCall,
    ToolInput,
    Upstream,
)
from midstream.attempts.surrogates import SurrogateJoiner
from midstream.log.entries import Json
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.provider_json import (
    CALL_BYTES,
    Budget,
    MisfitError,
    figure,
    member,
    objects,
    piece,
    text,
    usage,
)
from midstream_worker.sources.text_runs import TextRuns


class ResponseReader:
    """Reads one response's events, in order and from its first one.

    The events of a tool call's arguments do not repeat its name, and a character may be cut in half, so the meaning
    of an event depends on the events before it.

    Args:
        failures: The provider's table of failures.
        after: The position up to which everything was delivered already: events up to it yield nothing.
        resumable: Whether the response can be read again.
        budget: What may be held back until the end.

    Attributes:
        finished: Whether the terminal event was among them.
    """

    def __init__(self, failures: Failures, budget: Budget, *, after: int, resumable: bool) -> None:
        self.finished = False
        self._failures = failures
        self._budget = budget
        self._after = after
        self._resumable = resumable
        self._id = ""
        self._runs = TextRuns()
        self._arguments = SurrogateJoiner()
        self._calls: dict[str, Json] = {}
        self._refused = False

    def read(self, event: Json) -> Iterator[Delta]:
        """Yield the deltas of an event, and then its position.

        Raises:
            SourceError: The response failed.
        """
        position = figure(event, "sequence_number")
        if event.get("type") == "response.created":
            self._id = text(member(event, "response"), "id")
            cursor = None if position is None else max(position, self._after)
            yield Upstream(self._id, self._resumable, cursor)
        deltas = list(self._read(event))
        if position is None:
            # Signs of life and compatible servers have no positions; but without one, a second reading would deliver
            # the same deltas twice.
            if deltas and self._resumable:
                raise MisfitError("sent an event without a `sequence_number`")
            yield from deltas
        elif position > self._after:
            yield from deltas
            if deltas and self._resumable and not self.finished:
                yield Upstream(self._id, resumable=True, cursor=position)

    def _read(self, event: Json) -> Iterator[Delta]:
        match event.get("type"):
            case "response.refusal.done":
                self._refused = True
                yield refusal(text(event, "refusal"))
            case "response.completed" | "response.incomplete":
                self.finished = True
                yield from ending(member(event, "response"), refused=self._refused, called=bool(self._calls))
            case "response.failed":
                self.finished = True
                raise failed(member(event, "response"), self._failures)
            case "error":
                self.finished = True
                raise self._failures.of_report({"code": event.get("code"), "message": event.get("message")})
            case _:
                yield from self._words(event)
                yield from _encrypted_reasoning(event)
                yield from self._tool_call(event)

    def _words(self, event: Json) -> Iterator[Delta]:
        match event.get("type"):
            case "response.output_text.delta":
                yield from self._runs.text(piece(event, "delta"))
            case "response.output_text.done":
                yield from self._runs.end_text()
            case "response.output_text.annotation.added":
                yield from _citation(event)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield from self._runs.reasoning(piece(event, "delta"))
            case "response.reasoning_summary_text.done" | "response.reasoning_text.done":
                yield from self._runs.end_reasoning()
            case "response.reasoning_summary_part.added" if figure(event, "summary_index"):
                yield Reasoning("\n\n")

    def _tool_call(self, event: Json) -> Iterator[Delta]:
        match event.get("type"):
            case "response.output_item.added" if _is_call(item := member(event, "item")):
                self._budget.spend(CALL_BYTES)
                called = {"call_id": text(item, "call_id"), "name": text(item, "name")}
                self._calls[piece(item, "id")] = called
            case "response.function_call_arguments.delta":
                call = self._calls.get(piece(event, "item_id"))
                if call is None:
                    raise MisfitError("sent arguments of a call that it had not begun")
                if written := self._arguments.push(piece(event, "delta")):
                    yield ToolInput(call["call_id"], call["name"], written)
            case "response.output_item.done" if _is_call(item := member(event, "item")):
                yield ToolCall(text(item, "call_id"), text(item, "name"), text(item, "arguments"))


def refusal(words: str) -> Other:
    """Return the delta of what a model wrote in place of an answer."""
    return Other("data", {"kind": "refusal", "text": words})


def ending(response: Json, *, refused: bool, called: bool) -> Iterator[Delta]:
    """Yield usage and finish of a response that was completed, or cut at a limit."""
    counted = member(response, "usage")
    details = {
        "cached_tokens": figure(counted.get("input_tokens_details"), "cached_tokens"),
        "reasoning_tokens": figure(counted.get("output_tokens_details"), "reasoning_tokens"),
    }
    if figures := usage(counted, ("input_tokens", "output_tokens"), details):
        yield figures
    yield Finish(_reason(response, refused=refused, called=called))


def failed(response: Json, failures: Failures) -> Exception:
    """Return the failure of a response that failed or was cancelled."""
    error = member(response, "error") or {"message": f"the response is {piece(response, 'status')}"}
    return failures.of_report({"code": error.get("code"), "message": error.get("message")})


def content(response: Json) -> list[Json]:
    """Return the parts of all messages in a response's output."""
    messages = [item for item in objects(response, "output") if item.get("type") == "message"]
    return [part for message in messages for part in objects(message, "content")]


def makes_calls(response: Json) -> bool:
    """Tell whether a response's output calls a tool."""
    return any(_is_call(item) for item in objects(response, "output"))


def _is_call(item: Json) -> bool:
    return item.get("type") == "function_call"


def _reason(response: Json, *, refused: bool, called: bool) -> FinishReason:
    if response.get("status") == "incomplete":
        why = member(response, "incomplete_details").get("reason")
        return "content_filter" if why == "content_filter" else "length"
    if refused:
        return "refusal"
    return "tool_calls" if called else "stop"


def _encrypted_reasoning(event: Json) -> Iterator[Delta]:
    """Yield a reasoning item's encrypted content, which is there if `include` asks for it."""
    if event.get("type") == "response.output_item.done":
        item = member(event, "item")
        if item.get("type") == "reasoning" and (encrypted := text(item, "encrypted_content")):
            yield Other("data", {"kind": "encrypted_reasoning", "content": encrypted})


def _citation(event: Json) -> Iterator[Delta]:
    cited = member(event, "annotation")
    if cited.get("type") == "url_citation":
        source_id = f"{text(event, 'item_id')}:{figure(event, 'annotation_index')}"
        yield Other("source", {"id": source_id, "url": text(cited, "url"), "title": text(cited, "title")})
