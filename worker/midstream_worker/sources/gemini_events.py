"""Turns the events of one Gemini interaction into deltas.

An interaction is a list of steps: thoughts, output, calls. A step begins, gets deltas and stops, each by its index; the
SDK's types say which fields each of them has. Steps may overlap, and the interaction's end ends those that the provider
never stopped: an answer without a call that it has begun would look complete. A stored interaction holds the same steps
whole, and is read as if each had come at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from midstream.attempts.delta import Delta, Finish, FinishReason, Other, ToolCall, ToolInput
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
    written,
)
from midstream_worker.sources.text_runs import TextRuns

LIVE: Final = ("queued", "in_progress")
"""The statuses of an interaction that goes on."""
_REASONS: Final[dict[str, FinishReason]] = {
    "completed": "stop",
    "requires_action": "tool_calls",
    "incomplete": "length",
    "requires_continuation": "length",  # the limit of one request; only without `background`
}
READABLE: Final = (*LIVE, *_REASONS)
"""The statuses of an interaction that has not failed."""
_INPUT: Final = ("user_input", "function_result")


@dataclass(slots=True)
class _Step:
    """A step that has begun."""

    kind: str = ""
    call_id: str = ""
    name: str = ""
    words: SurrogateJoiner = field(default_factory=SurrogateJoiner)
    arguments: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)


class InteractionReader:
    """Reads one interaction's events, in order and from its first one.

    Args:
        failures: The provider's table of failures.
        budget: What may be held back until the end.

    Attributes:
        id: The interaction's id; empty until it has come.
        finished: Whether the terminal event was among them.
        broke: Whether an `error` event was: it may concern the interaction, or this connection to it alone.
    """

    def __init__(self, failures: Failures, budget: Budget) -> None:
        self.id = ""
        self.finished = False
        self.broke = False
        self._failures = failures
        self._budget = budget
        self._runs = TextRuns()
        self._steps: dict[int | None, _Step] = {}
        self._called = False
        self._counted: Json = {}

    def read(self, event: Json) -> Iterator[Delta]:
        """Yield the deltas of an event.

        Raises:
            SourceError: The interaction failed.
        """
        match event.get("event_type"):
            case "interaction.created":
                self.id = text(member(event, "interaction"), "id")
            case "step.start":
                yield from self._begin(member(event, "step"), figure(event, "index"))
            case "step.delta":
                step = self._steps.get(figure(event, "index")) or _Step()
                yield from self._read_delta(step, member(event, "delta"))
            case "step.stop":
                yield from self._stop(figure(event, "index"))
            case "interaction.status_update":
                self._count(event)
            case "interaction.completed":
                self.finished = True
                interaction = member(event, "interaction")
                self._count(interaction)
                for index in (*self._steps, None):
                    yield from self._stop(index)
                yield from self._ending(interaction)
            case "error":
                self.broke = True
                raise self._failures.of_report(member(event, "error"))

    def read_whole(self, interaction: Json) -> Iterator[Delta]:
        """Yield the deltas of an interaction that has ended, as its provider has stored it.

        Raises:
            SourceError: The interaction failed.
        """
        for step in own_steps(interaction):
            yield from self._begin(step, None)
            yield from self._stop(None)
        yield from self.read({"event_type": "interaction.completed", "interaction": interaction})

    def _begin(self, begun: Json, index: int | None) -> Iterator[Delta]:
        yield from self._stop(index)
        step = _Step(piece(begun, "type"))
        if step.kind in ("thought", "function_call"):  # nothing of the others is held back
            self._budget.spend(CALL_BYTES)
            self._steps[index] = step
        match step.kind:
            case "model_output":
                for part in objects(begun, "content"):
                    yield from self._output(part)
            case "thought":
                for part in objects(begun, "summary"):
                    yield from self._runs.reasoning(piece(part, "text"))
                step.signature.append(self._hold(text(begun, "signature")))
            case "function_call":
                self._called = True
                step.call_id, step.name = text(begun, "id"), text(begun, "name")
                if arguments := member(begun, "arguments"):
                    yield from self._write(step, written(arguments))

    def _read_delta(self, step: _Step, delta: Json) -> Iterator[Delta]:
        match delta.get("type"):
            case "text" | "text_annotation_delta":
                yield from self._output(delta)
            case "thought_summary":
                yield from self._runs.reasoning(piece(member(delta, "content"), "text"))
            case "thought_signature":
                step.signature.append(self._hold(text(delta, "signature")))
            case "arguments_delta":
                if step.kind != "function_call":
                    raise MisfitError("sent arguments of a call that it had not begun")
                yield from self._write(step, piece(delta, "arguments"))

    def _output(self, part: Json) -> Iterator[Delta]:
        """Yield a part of the answer, and the pages that it cites."""
        yield from self._runs.text(piece(part, "text"))
        for cited in objects(part, "annotations"):
            if url := text(cited, "url"):
                yield Other("source", {"id": url, "url": url, "title": text(cited, "title") or None})

    def _write(self, step: _Step, words: str) -> Iterator[Delta]:
        if whole := step.words.push(words):
            yield self._fragment(step, whole)

    def _fragment(self, step: _Step, words: str) -> ToolInput:
        step.arguments.append(self._hold(words))
        return ToolInput(step.call_id, step.name, words)

    def _stop(self, index: int | None) -> Iterator[Delta]:
        """End a step, and what was held back of the runs; one that has not begun, or was ended, ends nothing more."""
        step = self._steps.pop(index, None) or _Step()
        yield from self._runs.end_reasoning()
        yield from self._runs.end_text()
        if step.kind == "function_call":
            if rest := step.words.flush():
                yield self._fragment(step, rest)
            yield ToolCall(step.call_id, step.name, "".join(step.arguments) or "{}")
        if signature := "".join(step.signature):
            yield Other("data", {"kind": "reasoning_signature", "signature": signature})

    def _hold(self, words: str) -> str:
        """Count words that are held back until the end of their step, and return them."""
        self._budget.spend(len(words))
        return words

    def _count(self, holder: Json) -> None:
        """Remember the figures of a usage object; those of a later one replace earlier ones."""
        self._counted |= {name: count for name, count in member(holder, "usage").items() if count is not None}

    def _ending(self, interaction: Json) -> Iterator[Delta]:
        status = piece(interaction, "status")
        if status not in _REASONS:
            raise failed(interaction, self._failures)
        # Thoughts are billed as output, and Gemini counts them apart.
        thoughts = figure(self._counted, "total_thought_tokens")
        written_tokens = figure(self._counted, "total_output_tokens")
        if thoughts is not None or written_tokens is not None:
            self._counted["total_output_tokens"] = (written_tokens or 0) + (thoughts or 0)
        details = {
            "cached_tokens": figure(self._counted, "total_cached_tokens"),
            "reasoning_tokens": thoughts,
        }
        if counted := usage(self._counted, ("total_input_tokens", "total_output_tokens"), details):
            yield counted
        yield Finish("tool_calls" if self._called and status == "completed" else _REASONS[status])


def own_steps(interaction: Json) -> list[Json]:
    """Return the steps that the model has made: those after the last one that we have sent."""
    steps = list(objects(interaction, "steps"))
    sent = [at for at, step in enumerate(steps) if step.get("type") in _INPUT]
    return steps[sent[-1] + 1 :] if sent else steps


def makes_calls(interaction: Json) -> bool:
    """Tell whether an interaction's own steps call a tool of ours."""
    return any(step.get("type") == "function_call" for step in own_steps(interaction))


def failed(interaction: Json, failures: Failures) -> Exception:
    """Return the failure of an interaction that failed, was cancelled, or has used up its budget."""
    status = piece(interaction, "status")
    reported = next(objects(interaction, "errors"), None) or {"message": f"the interaction is {status}"}
    return failures.of_report({"type": status, "code": reported.get("code"), "message": reported.get("message")})
