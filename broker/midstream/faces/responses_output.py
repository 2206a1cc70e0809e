"""The output items of an OpenAI response as they grow: immutable, so that a replay can begin from any of them."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from midstream.faces.rope import Rope, text_of
from midstream.log.entries import CANCELLED

Json = dict[str, Any]
Kind = Literal["message", "reasoning", "function_call"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]

INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reasons of an answer that is not whole, in OpenAI's words."""
_PREFIXES: dict[Kind, str] = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message's content, of `kind` `output_text` or `refusal`, or a reasoning summary's only one."""

    kind: str
    text: Rope = None
    annotations: tuple[Json, ...] = ()

    def shown(self) -> Json:
        """Return the part as JSON."""
        text = text_of(self.text)
        match self.kind:
            case "refusal":
                return {"type": "refusal", "refusal": text}
            case "summary_text":
                return {"type": "summary_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": list(self.annotations), "logprobs": []}


@dataclass(frozen=True, slots=True)
class Item:
    """One output item.

    Attributes:
        index: Its `output_index`, which no other item of the response ever has.
        parts: Of a message or of reasoning; the last one is the one that grows.
        arguments: Of a function call.
        encrypted: Of reasoning: its content in cipher, for the provider to read back.
    """

    kind: Kind
    index: int
    id: str
    status: ItemStatus = "in_progress"
    parts: tuple[Part, ...] = ()
    call_id: str = ""
    name: str = ""
    arguments: Rope = None
    encrypted: str = ""

    @property
    def open(self) -> bool:
        """Whether more of it may come."""
        return self.status == "in_progress"

    def shown(self) -> Json:
        """Return the item as JSON."""
        match self.kind:
            case "message":
                content = [part.shown() for part in self.parts]
                facts: Json = {"role": "assistant", "status": self.status, "content": content}
            case "reasoning":
                facts = {"summary": [part.shown() for part in self.parts]}
                if self.encrypted:
                    facts["encrypted_content"] = self.encrypted
            case "function_call":
                arguments = text_of(self.arguments)
                facts = {"status": self.status, "call_id": self.call_id, "name": self.name, "arguments": arguments}
        return {"id": self.id, "type": self.kind, **facts}


def item_id(kind: Kind, stream_id: str, index: int) -> str:
    """Return the id of a stream's item at an output index."""
    return f"{_PREFIXES[kind]}_{stream_id}_{index}"


@dataclass(frozen=True, slots=True)
class Course:
    """How far a response has come.

    Attributes:
        sequence: The number of the next event.
        items: Its output so far; what came before a `reset` is no longer among it.
        next_index: The output index of the next item.
        calls: The log's ids of tool calls so far, each with the `call_id` that this face gave it.
        end: The data of the `end` entry once it has come.
    """

    sequence: int = 0
    items: tuple[Item, ...] = ()
    next_index: int = 0
    calls: tuple[tuple[str, str], ...] = ()
    end: Json | None = None


def status_of(course: Course) -> str:
    """Return the response's `status`, but for `queued`, which no entry tells."""
    if course.end is None:
        return "in_progress"
    match course.end["outcome"]:
        case "completed":
            return "incomplete" if incomplete_reason(course) else "completed"
        case "cancelled":
            return CANCELLED
    return "failed"


def incomplete_reason(course: Course) -> str | None:
    """Return why an answer is not whole although nothing failed."""
    reason = (course.end or {}).get("finish_reason")
    if reason == "refusal":
        # A refusal in words is an answer; one without any is a text that the provider cut off.
        said = any(part.kind == "refusal" for item in course.items for part in item.parts)
        return None if said else "content_filter"
    return INCOMPLETE.get(reason or "")


def usage_of(usage: Json | None) -> Json | None:
    """Return the counted tokens in OpenAI's shape."""
    if not usage:
        return None
    details = usage.get("details") or {}
    taken, given = usage["input_tokens"], usage["output_tokens"]
    cached = details.get("cached_tokens", details.get("cache_read_input_tokens", 0))
    written = details.get("cache_creation_input_tokens", 0)
    return {
        "input_tokens": taken,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": details.get("reasoning_tokens", 0)},
        "total_tokens": taken + given,
    }
