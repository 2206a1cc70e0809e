"""The steps of a Gemini interaction, and their events, as the types of Google's SDK describe them."""

import json
from collections.abc import Iterator
from typing import Any

from midstream.testing.provider.script import Kind, Script, Step

Json = dict[str, Any]

_TYPES: dict[Kind, str] = {"reasoning": "thought", "hidden": "thought", "redacted": "thought", "tool": "function_call"}


class Steps:
    """Wraps a script's deltas in steps: a new one whenever the kind changes.

    Attributes:
        made: The steps so far, whole, as they are stored.
    """

    def __init__(self, script: Script) -> None:
        self.made: list[Json] = []
        self._script = script
        self._kind: Kind | None = None
        self._done = ""

    def write(self, step: Step) -> Iterator[Json]:
        """Yield the events of one delta."""
        if step.kind != self._kind:
            yield from self.end()
            self._kind, self._done = step.kind, ""
            yield {"event_type": "step.start", "index": len(self.made), "step": self._begun()}
            self.made.append({})
        self._done += step.piece
        self.made[-1] = self._whole()
        match step.kind:
            case "redacted" | "hidden":
                pass
            case "reasoning":
                yield self._delta({"type": "thought_summary", "content": {"type": "text", "text": step.piece}})
            case "tool":
                yield self._delta({"type": "arguments_delta", "arguments": step.piece})
            case _:
                yield self._delta({"type": "text", "text": step.piece})

    def end(self) -> Iterator[Json]:
        """Yield the events that end the step."""
        if self._kind is None:
            return
        if signed := self.made[-1].get("signature"):
            yield {**self._delta({"type": "thought_signature", "signature": signed}), "event_type": "step.delta"}
        if annotations := self._annotations():
            yield self._delta({"type": "text_annotation_delta", "annotations": annotations})
        yield {"event_type": "step.stop", "index": len(self.made) - 1}
        self._kind = None

    def usage(self) -> Json:
        """Return what is billed: thoughts are not counted as output."""
        words, thoughts = self._script.words, self._script.reasoning
        counted = {"total_input_tokens": 7, "total_output_tokens": words, "total_thought_tokens": thoughts}
        return counted | {"total_cached_tokens": 0, "total_tool_use_tokens": 0, "total_tokens": 7 + words + thoughts}

    def _delta(self, delta: Json) -> Json:
        return {"event_type": "step.delta", "index": len(self.made) - 1, "delta": delta}

    def _begun(self) -> Json:
        step = {"type": _TYPES.get(self._kind or "text", "model_output")}
        return step | ({"id": "call_1", "name": "get_weather", "arguments": {}} if self._kind == "tool" else {})

    def _whole(self) -> Json:
        step = self._begun()
        match step["type"]:
            case "thought":
                summary = [{"type": "text", "text": self._done}] if self._done else []
                return step | {"summary": summary, "signature": f"signed-{len(self.made) - 1}"}
            case "function_call":
                return step | {"arguments": json.loads(self._done) if self._done == self._script.arguments() else {}}
        part: Json = {"type": "text", "text": self._done}
        if annotations := self._annotations():
            part["annotations"] = annotations
        return step | {"content": [part]}

    def _annotations(self) -> list[Json]:
        if not self._script.cite or self._kind != "text":
            return []
        return [{"type": "url_citation", "url": "https://example.com/a", "title": "A page"}]
