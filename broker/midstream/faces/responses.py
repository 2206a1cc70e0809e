"""The OpenAI Responses face: numbered events, the number a function of the log alone (PROTOCOL: Responses/Entries)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from midstream.faces.peer_errors import failure_of, response_error, response_error_event
from midstream.faces.responses_output import (
    INCOMPLETE,
    Course,
    Item,
    ItemStatus,
    Json,
    Kind,
    Part,
    incomplete_reason,
    item_id,
    status_of,
    usage_of,
)
from midstream.faces.rope import text_of
from midstream.log.entries import (
    CANCELLED,
    COMPLETED,
    DATA,
    END,
    REASONING,
    RESET,
    SOURCE,
    TEXT,
    TOOL_CALL,
    TOOL_INPUT,
    Entry,
    Stored,
    decode,
)


@dataclass(frozen=True)
class ResponsesFace:
    """One stream as one response.

    Attributes:
        stream_id: The stream; two faces of one stream say the same.
        created_ms: Its time of creation.
        echo: What of the request the response repeats, as JSON.
        background: Whether it was asked for in the background: then it begins as `queued`.
        encrypted: Whether reasoning items hold their content in cipher, where the provider gave it.
    """

    stream_id: str
    created_ms: int = field(compare=False)
    echo: bytes = field(compare=False, repr=False)
    background: bool = field(default=False, compare=False)
    encrypted: bool = False

    heartbeat: bytes = field(default=b":\n\n", init=False, compare=False)

    @property
    def response_id(self) -> str:
        """The response's id, the same for its whole life."""
        return f"resp_{self.stream_id}"

    def begin(self) -> Course:
        """Return the course of a response that nothing is known of yet."""
        return Course()

    def frame(self, entry: Stored, state: Course) -> tuple[bytes, Course]:
        """Return the events that an entry makes, one behind the other."""
        events, course = self.events(entry, state)
        return b"".join(events), course

    def events(self, entry: Stored, state: Course) -> tuple[list[bytes], Course]:
        """Return the events that an entry makes; the first one's number is `state.sequence`."""
        step = _Step(self, state)
        step.take(decode(entry.content, entry.offset, entry.epoch))
        return step.events, step.course

    def parting(self, retry_ms: int) -> bytes:  # noqa: ARG002
        """Return an error: a `retry` field breaks OpenAI's SDK, and a bare end would look like success."""
        return response_error_event("stream_moved", "This server is stopping; retrieve the response again.")

    def reset(self, reason: str) -> bytes:
        """Return an error: this format cannot take back what it said."""
        return response_error_event(f"stream_{reason}", "The response can no longer be continued from here.")

    def resource(self, course: Course, *, status: str | None = None) -> Json:
        """Return the response object as it is behind `course`."""
        end = course.end or {}
        shown = status or status_of(course)
        ended_ms = self.created_ms + end["timings"]["total_ms"] if end else None
        incomplete = incomplete_reason(course) if shown == "incomplete" else None
        return {
            **orjson.loads(self.echo),
            "id": self.response_id,
            "object": "response",
            "created_at": self.created_ms // 1000,
            "completed_at": ended_ms // 1000 if ended_ms is not None and shown == "completed" else None,
            "status": shown,
            "background": self.background,
            "output": [item.shown() for item in course.items],
            "error": response_error(failure_of(end)) if shown == "failed" else None,
            "incomplete_details": {"reason": incomplete} if incomplete else None,
            "usage": usage_of(end.get("usage")),
        }


class _Step:
    """One entry's way through the face: events gather, and the course moves on."""

    def __init__(self, face: ResponsesFace, course: Course) -> None:
        self.events: list[bytes] = []
        self.course = course
        self._face = face

    def take(self, entry: Entry) -> None:
        if not self.course.sequence:
            self._begin()
        takes: Callable[[Entry], None] | None = {
            TEXT: self._text,
            REASONING: self._reasoning,
            TOOL_INPUT: self._tool_input,
            TOOL_CALL: self._tool_call,
            SOURCE: self._source,
            DATA: self._data,
            RESET: self._reset,
            END: self._end,
        }.get(entry.type)
        if takes is not None:
            takes(entry)

    def _begin(self) -> None:
        if self._face.background:
            for kind in ("response.created", "response.queued"):
                self._say(kind, response=self._face.resource(self.course, status="queued"))
        else:
            self._say("response.created", response=self._face.resource(self.course))
        self._say("response.in_progress", response=self._face.resource(self.course))

    def _text(self, entry: Entry) -> None:
        item = self._growing("message", "output_text")
        item = self._grow(item, entry.text)
        self._say_of(
            item, "response.output_text.delta", content_index=len(item.parts) - 1, delta=entry.text, logprobs=[]
        )

    def _reasoning(self, entry: Entry) -> None:
        item = self._grow(self._growing("reasoning", "summary_text"), entry.text)
        self._say_of(item, "response.reasoning_summary_text.delta", summary_index=0, delta=entry.text)

    def _source(self, entry: Entry) -> None:
        item = self._growing("message", "output_text")
        part = item.parts[-1]
        at = len(text_of(part.text))
        cited = {"url": entry.data.get("url") or "", "title": entry.data.get("title") or ""}
        annotation = {"type": "url_citation", "start_index": at, "end_index": at, **cited}
        part = replace(part, annotations=(*part.annotations, annotation))
        item = self._put(replace(item, parts=(*item.parts[:-1], part)))
        self._say_of(
            item,
            "response.output_text.annotation.added",
            content_index=len(item.parts) - 1,
            annotation_index=len(part.annotations) - 1,
            annotation=annotation,
        )

    def _data(self, entry: Entry) -> None:
        match entry.data:
            case {"kind": "refusal", "text": str(text)}:
                item = self._grow(self._growing("message", "refusal"), text)
                self._say_of(item, "response.refusal.delta", content_index=len(item.parts) - 1, delta=text)
            case {"kind": "encrypted_reasoning", "content": str(content)}:
                item = self._only("reasoning") or self._add("reasoning")
                self._close(replace(item, encrypted=content if self._face.encrypted else ""), "completed")

    def _tool_input(self, entry: Entry) -> None:
        item = self._call(entry)
        if item.open:
            self._write_arguments(item, str(entry.data["delta"]))

    def _tool_call(self, entry: Entry) -> None:
        item = self._call(entry)
        if not item.open:
            return
        whole = str(entry.data["arguments"])
        known = text_of(item.arguments)
        if whole.startswith(known) and whole != known:
            item = self._write_arguments(item, whole[len(known) :])
        self._close(replace(item, arguments=(None, whole)), "completed")

    def _write_arguments(self, item: Item, piece: str) -> Item:
        item = self._put(replace(item, arguments=(item.arguments, piece)))
        self._say_of(item, "response.function_call_arguments.delta", delta=piece)
        return item

    def _reset(self, entry: Entry) -> None:  # noqa: ARG002
        """Close what was said as incomplete; it is no part of the output any more."""
        for item in self.course.items:
            if item.open:
                self._close(item, "incomplete")
        self.course = replace(self.course, items=())

    def _end(self, entry: Entry) -> None:
        end = entry.data
        whole = end["outcome"] == COMPLETED and end.get("finish_reason") not in INCOMPLETE
        for item in self.course.items:
            if item.open:
                self._close(item, "completed" if whole and item.kind != "function_call" else "incomplete")
        self.course = replace(self.course, end=end)
        response = self._face.resource(self.course)
        status = response["status"]
        self._say(f"response.{'failed' if status == CANCELLED else status}", response=response)

    def _growing(self, kind: Kind, part_kind: str) -> Item:
        """Return the open item of this kind with a part of that kind at its end; others but calls are closed."""
        item = self._only(kind) or self._add(kind)
        if item.parts and item.parts[-1].kind != part_kind:
            self._close_part(item)
        elif item.parts:
            return item
        item = self._put(replace(item, parts=(*item.parts, Part(part_kind))))
        if kind == "reasoning":
            self._say_of(item, "response.reasoning_summary_part.added", summary_index=0, part=item.parts[-1].shown())
        else:
            at = len(item.parts) - 1
            self._say_of(item, "response.content_part.added", content_index=at, part=item.parts[-1].shown())
        return item

    def _only(self, kind: Kind) -> Item | None:
        """Return the open item of this kind, if there is one; others but calls are closed."""
        item = next((item for item in self.course.items if item.open and item.kind == kind), None)
        for other in self.course.items:
            if other.open and other is not item and other.kind != "function_call":
                self._close(other, "completed")
        return item

    def _call(self, entry: Entry) -> Item:
        """Return the function call that an entry is about."""
        log_id, name = str(entry.data["id"]), str(entry.data["name"])
        call_id = dict(self.course.calls).get(log_id)
        for item in self.course.items:
            if item.kind == "function_call" and item.call_id == call_id:
                return item
            if item.open and item.kind != "function_call":
                self._close(item, "completed")
        # Two items of one response with one call_id break the SDK's helper: a call that was taken back keeps its own.
        call_id = log_id if call_id is None else f"{log_id}_{self.course.next_index}"
        self.course = replace(self.course, calls=(*self.course.calls, (log_id, call_id)))
        return self._add("function_call", call_id, name)

    def _add(self, kind: Kind, call_id: str = "", name: str = "") -> Item:
        index = self.course.next_index
        item = Item(kind, index, item_id(kind, self._face.stream_id, index), call_id=call_id, name=name)
        self.course = replace(self.course, items=(*self.course.items, item), next_index=index + 1)
        self._say("response.output_item.added", output_index=index, item=item.shown())
        return item

    def _grow(self, item: Item, piece: str) -> Item:
        part = item.parts[-1]
        return self._put(replace(item, parts=(*item.parts[:-1], replace(part, text=(part.text, piece)))))

    def _close(self, item: Item, status: ItemStatus) -> None:
        if item.kind == "function_call":
            arguments = text_of(item.arguments)
            self._say_of(item, "response.function_call_arguments.done", arguments=arguments, name=item.name)
        elif item.parts:
            self._close_part(item)
        item = self._put(replace(item, status=status))
        self._say("response.output_item.done", output_index=item.index, item=item.shown())

    def _close_part(self, item: Item) -> None:
        part = item.parts[-1]
        text, shown = text_of(part.text), part.shown()
        at = len(item.parts) - 1
        match part.kind:
            case "summary_text":
                self._say_of(item, "response.reasoning_summary_text.done", summary_index=0, text=text)
                self._say_of(item, "response.reasoning_summary_part.done", summary_index=0, part=shown)
                return
            case "refusal":
                self._say_of(item, "response.refusal.done", content_index=at, refusal=text)
            case _:
                self._say_of(item, "response.output_text.done", content_index=at, text=text, logprobs=[])
        self._say_of(item, "response.content_part.done", content_index=at, part=shown)

    def _put(self, item: Item) -> Item:
        items = tuple(item if known.index == item.index else known for known in self.course.items)
        self.course = replace(self.course, items=items)
        return item

    def _say_of(self, item: Item, kind: str, **facts: Any) -> None:
        self._say(kind, item_id=item.id, output_index=item.index, **facts)

    def _say(self, kind: str, **facts: Any) -> None:
        data = orjson.dumps({"type": kind, "sequence_number": self.course.sequence, **facts})
        self.events.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), data))
        self.course = replace(self.course, sequence=self.course.sequence + 1)
