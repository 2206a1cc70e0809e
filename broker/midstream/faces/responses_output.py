"""The output items of an OpenAI response as they grow: immutable, so that a replay can begin from any of them."""

from dataclasses import dataclass
from typing import Final, Literal

from midstream.faces.rope import Rope, text_of
from midstream.log import entries
from midstream.log.entries import Json

ItemKind = Literal["message", "reasoning", "function_call"]
PartKind = Literal["output_text", "refusal", "summary_text"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]

INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reasons of an answer that is not whole, in OpenAI's words."""
_ID_PREFIXES: Final[dict[ItemKind, str]] = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message's content, or the one part of a reasoning's summary."""

    kind: PartKind
    text: Rope = None
    annotations: tuple[Json, ...] = ()

    def as_json(self) -> Json:
        """Return the part as it stands in a response."""
        text = text_of(self.text)
        match self.kind:
            case "refusal":
                return {"type": "refusal", "refusal": text}
            case "summary_text":
                return {"type": "summary_text", "text": text}
            case "output_text":
                return {"type": "output_text", "text": text, "annotations": list(self.annotations), "logprobs": []}


@dataclass(frozen=True, slots=True)
class Item:
    """One output item.

    Attributes:
        index: Its `output_index`, which no other item of the response ever has.
        parts: Of a message or of reasoning; the last one is the one that grows.
        call_id: Of a function call, as are `name` and `arguments`.
        encrypted: Of reasoning: its content in cipher, which only the provider can read.
    """

    kind: ItemKind
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

    def as_json(self) -> Json:
        """Return the item as it stands in a response."""
        match self.kind:
            case "message":
                content = [part.as_json() for part in self.parts]
                fields: Json = {"role": "assistant", "status": self.status, "content": content}
            case "reasoning":
                fields = {"summary": [part.as_json() for part in self.parts]}
                if self.encrypted:
                    fields["encrypted_content"] = self.encrypted
            case "function_call":
                arguments = text_of(self.arguments)
                fields = {"status": self.status, "call_id": self.call_id, "name": self.name, "arguments": arguments}
        return {"id": self.id, "type": self.kind, **fields}


def item_id(kind: ItemKind, stream_id: str, index: int) -> str:
    """Return the id of a stream's item at an output index."""
    return f"{_ID_PREFIXES[kind]}_{stream_id}_{index}"


@dataclass(frozen=True, slots=True)
class ResponsesState:
    """What has been sent of a response.

    Attributes:
        sequence: The number of the next event.
        items: Its output so far, without what came before the last `reset`.
        next_index: The output index of the next item.
        calls: The log's ids of the tool calls so far, each with the `call_id` that this face gave it.
        end: The data of the `end` entry once it has come.
    """

    sequence: int = 0
    items: tuple[Item, ...] = ()
    next_index: int = 0
    calls: tuple[tuple[str, str], ...] = ()
    end: Json | None = None

    @property
    def status(self) -> str:
        """The response's `status`. It is never `queued`, because no entry says so."""
        if self.end is None:
            return "in_progress"
        match self.end["outcome"]:
            case entries.COMPLETED:
                return "incomplete" if self.incomplete_reason else "completed"
            case entries.CANCELLED:
                return "cancelled"
        return "failed"

    @property
    def incomplete_reason(self) -> str | None:
        """Why an answer is not whole although nothing failed."""
        reason = (self.end or {}).get("finish_reason")
        if reason == "refusal":
            # A refusal in words is an answer; one without words is a text that the provider cut off.
            in_words = any(part.kind == "refusal" for item in self.items for part in item.parts)
            return None if in_words else "content_filter"
        return INCOMPLETE.get(reason or "")
