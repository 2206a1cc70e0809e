"""How the output items of an OpenAI response are opened, grown and closed, each change with its events."""

from dataclasses import replace
from typing import Any

import orjson

from midstream.faces.face import Step
from midstream.faces.responses_output import Item, ItemKind, ItemStatus, Part, PartKind, ResponsesState, item_id
from midstream.faces.rope import text_of
from midstream.faces.sse_frames import sse_frame
from midstream.log.entries import Json


class ItemStep(Step[ResponsesState]):
    """The part of a step that keeps the items: at most one message or reasoning is open at a time, and any calls."""

    def __init__(self, stream_id: str, state: ResponsesState) -> None:
        super().__init__(state)
        self._stream_id = stream_id

    def _send(self, kind: str, **fields: Any) -> None:
        """Send an event with the next number."""
        data = orjson.dumps({"type": kind, "sequence_number": self.state.sequence, **fields})
        self.frames.append(sse_frame(data, kind))
        self.state = replace(self.state, sequence=self.state.sequence + 1)

    def _send_of(self, item: Item, kind: str, **fields: Any) -> None:
        """Send an event about an item."""
        self._send(kind, item_id=item.id, output_index=item.index, **fields)

    def _open_item(self, kind: ItemKind) -> Item | None:
        """Return the open item of this kind, if there is one; other items but calls are closed."""
        item = next((item for item in self.state.items if item.open and item.kind == kind), None)
        for other in self.state.items:
            if other.open and other is not item and other.kind != "function_call":
                self._close(other, "completed")
        return item

    def _open_part(self, kind: ItemKind, part_kind: PartKind) -> Item:
        """Return the open item of this kind with an open part of that kind at its end; other items are closed."""
        item = self._open_item(kind) or self._add(kind)
        if item.parts:
            if item.parts[-1].kind == part_kind:
                return item
            self._close_part(item)
        part = Part(part_kind)
        item = self._put(replace(item, parts=(*item.parts, part)))
        if kind == "reasoning":
            self._send_of(item, "response.reasoning_summary_part.added", summary_index=0, part=part.as_json())
        else:
            at = len(item.parts) - 1
            self._send_of(item, "response.content_part.added", content_index=at, part=part.as_json())
        return item

    def _open_call(self, log_id: str, name: str) -> Item:
        """Return the function call that has this id on the log."""
        call_id = dict(self.state.calls).get(log_id)
        for item in self.state.items:
            if item.kind == "function_call" and item.call_id == call_id:
                return item
            if item.open and item.kind != "function_call":
                self._close(item, "completed")
        # Two items of one response with one call_id break the SDK's helper. An item that a reset took back keeps its
        # call_id, so a call of the same id that comes after it gets another.
        call_id = log_id if call_id is None else f"{log_id}_{self.state.next_index}"
        self.state = replace(self.state, calls=(*self.state.calls, (log_id, call_id)))
        return self._add("function_call", call_id, name)

    def _add(self, kind: ItemKind, call_id: str = "", name: str = "") -> Item:
        index = self.state.next_index
        item = Item(kind, index, item_id(kind, self._stream_id, index), call_id=call_id, name=name)
        self.state = replace(self.state, items=(*self.state.items, item), next_index=index + 1)
        self._send("response.output_item.added", output_index=index, item=item.as_json())
        return item

    def _grow(self, item: Item, text: str) -> Item:
        """Add text to an item's last part."""
        part = item.parts[-1]
        return self._put_part(item, replace(part, text=(part.text, text)))

    def _grow_arguments(self, item: Item, piece: str) -> Item:
        item = self._put(replace(item, arguments=(item.arguments, piece)))
        self._send_of(item, "response.function_call_arguments.delta", delta=piece)
        return item

    def _annotate(self, item: Item, annotation: Json) -> Item:
        """Add an annotation to an item's last part."""
        part = item.parts[-1]
        return self._put_part(item, replace(part, annotations=(*part.annotations, annotation)))

    def _close(self, item: Item, status: ItemStatus) -> None:
        if item.kind == "function_call":
            arguments = text_of(item.arguments)
            self._send_of(item, "response.function_call_arguments.done", arguments=arguments, name=item.name)
        elif item.parts:
            self._close_part(item)
        item = self._put(replace(item, status=status))
        self._send("response.output_item.done", output_index=item.index, item=item.as_json())

    def _close_part(self, item: Item) -> None:
        part, at = item.parts[-1], len(item.parts) - 1
        text, document = text_of(part.text), part.as_json()
        match part.kind:
            case "summary_text":
                self._send_of(item, "response.reasoning_summary_text.done", summary_index=0, text=text)
                self._send_of(item, "response.reasoning_summary_part.done", summary_index=0, part=document)
                return
            case "refusal":
                self._send_of(item, "response.refusal.done", content_index=at, refusal=text)
            case "output_text":
                self._send_of(item, "response.output_text.done", content_index=at, text=text, logprobs=[])
        self._send_of(item, "response.content_part.done", content_index=at, part=document)

    def _put_part(self, item: Item, part: Part) -> Item:
        """Set an item's last part, and return the item."""
        return self._put(replace(item, parts=(*item.parts[:-1], part)))

    def _put(self, item: Item) -> Item:
        """Set an item in its place, and return it."""
        items = tuple(item if other.index == item.index else other for other in self.state.items)
        self.state = replace(self.state, items=items)
        return item
