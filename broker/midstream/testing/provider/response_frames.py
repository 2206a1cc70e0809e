"""The events of an OpenAI response, as the real one sends them."""

from collections.abc import Iterator
from typing import Any

from midstream.testing.provider.script import Kind, Script, Step

Json = dict[str, Any]


class Writer:
    """Writes one response's events: each delta inside its item and part."""

    def __init__(self, response_id: str, script: Script, request: Json) -> None:
        self.output: list[Json] = []
        self._id = response_id
        self._script = script
        self._request = request
        self._kind: Kind | None = None
        self._done = ""

    def begin(self) -> Iterator[Json]:
        """Yield the events before the first item."""
        for kind in ("response.created", "response.in_progress"):
            yield {"type": kind, "response": self.response("in_progress")}

    def write(self, step: Step) -> Iterator[Json]:
        """Yield the events of one delta."""
        if step.kind != self._kind:
            yield from self._end_item()
            self._kind, self._done = step.kind, ""
            yield from self._begin_item()
        self._done += step.piece
        place = self._place()
        match step.kind:
            case "redacted" | "hidden":
                pass
            case "reasoning":
                yield {
                    "type": "response.reasoning_summary_text.delta",
                    **place,
                    "summary_index": 0,
                    "delta": step.piece,
                }
            case "tool":
                yield {"type": "response.function_call_arguments.delta", **place, "delta": step.piece}
            case "text":
                delta = {"content_index": 0, "delta": step.piece, "logprobs": []}
                yield {"type": "response.output_text.delta", **place, **delta}
            case "refusal":
                yield {"type": "response.refusal.delta", **place, "content_index": 0, "delta": step.piece}

    def end(self) -> Iterator[Json]:
        """Yield the events after the last delta."""
        yield from self._end_item()
        cut_short = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._script.finish)
        status = "incomplete" if cut_short else "completed"
        details = {"incomplete_details": {"reason": cut_short} if cut_short else None, "usage": _usage(self._script)}
        yield {"type": f"response.{status}", "response": self.response(status) | details}

    def fail(self, status: str, error: Json | None) -> Json:
        """Return the event that ends the response as failed."""
        return {"type": "response.failed", "response": self.response(status) | {"error": error}}

    def response(self, status: str) -> Json:
        """Return the response as it is now."""
        return {
            "id": self._id,
            "object": "response",
            "created_at": 1_700_000_000,
            "status": status,
            "background": bool(self._request.get("background")),
            "model": self._request["model"],
            "output": list(self.output),
            "error": None,
            "incomplete_details": None,
            "usage": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
        }

    def _place(self) -> Json:
        return {"item_id": f"item_{len(self.output)}", "output_index": len(self.output)}

    def _begin_item(self) -> Iterator[Json]:
        place = self._place()
        item = self._item("in_progress")
        if item["type"] == "message":
            item["content"] = []
        elif item["type"] == "function_call":
            item["arguments"] = ""
        yield {
            "type": "response.output_item.added",
            "output_index": place["output_index"],
            "item": item,
        }
        if self._kind == "text":
            part = {"type": "output_text", "text": "", "annotations": []}
            yield {"type": "response.content_part.added", **place, "content_index": 0, "part": part}
        if self._kind == "reasoning":
            part = {"type": "summary_text", "text": ""}
            yield {"type": "response.reasoning_summary_part.added", **place, "summary_index": 0, "part": part}

    def _end_item(self) -> Iterator[Json]:
        if self._kind is None:
            return
        place = self._place()
        item = self._item("completed")
        match self._kind:
            case "reasoning":
                text = item["summary"][0]["text"]
                yield {"type": "response.reasoning_summary_text.done", **place, "summary_index": 0, "text": text}
            case "tool":
                named = {"name": item["name"], "arguments": item["arguments"]}
                yield {"type": "response.function_call_arguments.done", **place, **named}
            case "text":
                yield from self._citation(place)
                text = item["content"][0]["text"]
                whole = {"content_index": 0, "text": text, "logprobs": []}
                yield {"type": "response.output_text.done", **place, **whole}
            case "refusal":
                refusal = self._script.refusal()
                yield {"type": "response.refusal.done", **place, "content_index": 0, "refusal": refusal}
        yield {"type": "response.output_item.done", "output_index": place["output_index"], "item": item}
        self.output.append(item)
        self._kind = None

    def _item(self, status: str) -> Json:
        item_id = self._place()["item_id"]
        match self._kind:
            case "hidden":
                return {"type": "reasoning", "id": item_id, "summary": [], **self._sealed(status)}
            case "reasoning":
                summary = {"type": "summary_text", "text": self._script.reasoning_text()}
                return {"type": "reasoning", "id": item_id, "summary": [summary], **self._sealed(status)}
            case "tool":
                called = {"call_id": "call_1", "name": "get_weather", "arguments": self._script.arguments()}
                return {"type": "function_call", "id": item_id, "status": status, **called}
            case "refusal":
                part: Json = {"type": "refusal", "refusal": self._script.refusal()}
            case _:
                part = {"type": "output_text", "text": self._script.text(), "annotations": []}
        return {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": [part]}

    def _sealed(self, status: str) -> Json:
        """Return a reasoning item's content in cipher, if that was asked for."""
        is_included = "reasoning.encrypted_content" in (self._request.get("include") or ())
        return {"encrypted_content": f"sealed-{len(self.output)}"} if is_included and status == "completed" else {}

    def _citation(self, place: Json) -> Iterator[Json]:
        if self._script.cite:
            cited = {"type": "url_citation", "url": "https://example.com/a", "title": "A page"}
            annotation = {"annotation_index": 0, "annotation": {**cited, "start_index": 0, "end_index": 2}}
            yield {"type": "response.output_text.annotation.added", **place, "content_index": 0, **annotation}


def _usage(script: Script) -> Json:
    words = script.words + script.reasoning
    return {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": words,
        "output_tokens_details": {"reasoning_tokens": script.reasoning},
        "total_tokens": 7 + words,
    }
