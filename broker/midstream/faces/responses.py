"""The OpenAI Responses face: numbered events, the number a function of the log alone (PROTOCOL: Responses/Entries)."""

import sys
from dataclasses import dataclass, field, replace
from typing import ClassVar

import orjson

from midstream.faces.face import FACE_BYTES
from midstream.faces.peer_errors import CREDENTIAL_OVER, failure_of, openai_error, response_error
from midstream.faces.responses_items import ItemStep
from midstream.faces.responses_output import INCOMPLETE, ResponsesState
from midstream.faces.rope import text_of
from midstream.faces.sse_frames import HEARTBEAT, sse_frame
from midstream.faces.token_usage import responses_usage
from midstream.log import entries
from midstream.log.entries import Call, Entry, Json, Stored, call_of, decode


@dataclass(frozen=True, slots=True)
class ResponsesFace:
    """One stream as one response.

    Fields that are the same for all faces of a stream are not compared.

    Attributes:
        stream_id: The stream.
        created_ms: Its time of creation.
        echo: The fields of the request that the response repeats, as JSON. It is a string, because bytes that orjson
            has made keep its working memory, several times their length.
        background: Whether the request asked for a background response: that one begins as `queued`.
        encrypted: Whether reasoning items hold their content in cipher, where the provider gave it.
    """

    stream_id: str
    created_ms: int = field(compare=False)
    echo: str = field(compare=False, repr=False)
    background: bool = field(default=False, compare=False)
    encrypted: bool = False

    heartbeat: ClassVar[bytes] = HEARTBEAT
    remembers_text: ClassVar[bool] = True

    @property
    def size_bytes(self) -> int:
        """What the face takes in memory: mostly the request's instructions and tools."""
        return FACE_BYTES + sys.getsizeof(self.echo)

    @property
    def response_id(self) -> str:
        """The response's id, the same for its whole life."""
        return f"resp_{self.stream_id}"

    def begin(self) -> ResponsesState:
        """Return the state in which nothing has been sent."""
        return ResponsesState()

    def frame(self, entry: Stored, state: ResponsesState) -> tuple[bytes, ResponsesState]:
        """Return the events that an entry makes."""
        events, state = self.events(entry, state)
        return b"".join(events), state

    def events(self, entry: Stored, state: ResponsesState) -> tuple[list[bytes], ResponsesState]:
        """Return the events that an entry makes, each by itself; the first one's number is `state.sequence`."""
        step = _Step(self, state)
        step.take(decode(entry.content, entry.offset, entry.epoch))
        return step.frames, step.state

    def broker_stop(self, retry_ms: int) -> bytes:  # noqa: ARG002
        """Return an error: a `retry` field breaks OpenAI's SDK, and a bare end would look like success."""
        return _error_frame("stream_moved", "This broker is stopping; retrieve the response again.")

    def credential_end(self, reason: str) -> bytes:
        """Return an error, because a bare end would look like success."""
        return _error_frame(reason, CREDENTIAL_OVER, 401)

    def reset(self, reason: str) -> bytes:
        """Return an error, because this format cannot take back what it has sent."""
        return _error_frame(f"stream_{reason}", "The response can no longer be continued from here.")

    def resource(self, state: ResponsesState, *, status: str | None = None) -> Json:
        """Return the response object as it is in a state."""
        end = state.end or {}
        status = status or state.status
        ended_ms = self.created_ms + end["timings"]["total_ms"] if end else None
        incomplete = state.incomplete_reason if status == "incomplete" else None
        return {
            **orjson.loads(self.echo),
            "id": self.response_id,
            "object": "response",
            "created_at": self.created_ms // 1000,
            "completed_at": ended_ms // 1000 if ended_ms is not None and status == "completed" else None,
            "status": status,
            "background": self.background,
            "output": [item.as_json() for item in state.items],
            "error": response_error(failure_of(end)) if status == "failed" else None,
            "incomplete_details": {"reason": incomplete} if incomplete else None,
            "usage": responses_usage(end.get("usage")),
        }


class _Step(ItemStep):
    """One entry's way through a response."""

    def __init__(self, face: ResponsesFace, state: ResponsesState) -> None:
        super().__init__(face.stream_id, state)
        self._face = face

    def take(self, entry: Entry) -> None:
        if not self.state.sequence:
            self._begin()
        match entry.type:
            case entries.TEXT:
                self._text(entry.text)
            case entries.REASONING:
                self._reasoning(entry.text)
            case entries.TOOL_INPUT:
                self._tool_input(call_of(entry))
            case entries.TOOL_CALL:
                self._tool_call(call_of(entry))
            case entries.SOURCE:
                self._source(entry.data)
            case entries.DATA:
                self._data(entry.data)
            case entries.RESET:
                self._reset()
            case entries.END:
                self._end(entry.data)

    def _begin(self) -> None:
        if self._face.background:
            for kind in ("response.created", "response.queued"):
                self._send(kind, response=self._face.resource(self.state, status="queued"))
        else:
            self._send("response.created", response=self._face.resource(self.state))
        self._send("response.in_progress", response=self._face.resource(self.state))

    def _text(self, text: str) -> None:
        item = self._grow(self._open_part("message", "output_text"), text)
        at = len(item.parts) - 1
        self._send_of(item, "response.output_text.delta", content_index=at, delta=text, logprobs=[])

    def _reasoning(self, text: str) -> None:
        item = self._grow(self._open_part("reasoning", "summary_text"), text)
        self._send_of(item, "response.reasoning_summary_text.delta", summary_index=0, delta=text)

    def _tool_input(self, call: Call) -> None:
        item = self._open_call(call.id, call.name)
        if item.open:
            self._grow_arguments(item, call.piece)

    def _tool_call(self, call: Call) -> None:
        item = self._open_call(call.id, call.name)
        if not item.open:
            return
        whole, sent = call.piece, text_of(item.arguments)
        if whole.startswith(sent) and whole != sent:
            item = self._grow_arguments(item, whole[len(sent) :])
        self._close(replace(item, arguments=(None, whole)), "completed")

    def _source(self, data: Json) -> None:
        """Send a citation of the place at which the text stands."""
        item = self._open_part("message", "output_text")
        at = len(text_of(item.parts[-1].text))
        cited = {"url": data.get("url") or "", "title": data.get("title") or ""}
        annotation = {"type": "url_citation", "start_index": at, "end_index": at, **cited}
        item = self._annotate(item, annotation)
        self._send_of(
            item,
            "response.output_text.annotation.added",
            content_index=len(item.parts) - 1,
            annotation_index=len(item.parts[-1].annotations) - 1,
            annotation=annotation,
        )

    def _data(self, data: Json) -> None:
        match data:
            case {"kind": "refusal", "text": str(text)}:
                item = self._grow(self._open_part("message", "refusal"), text)
                self._send_of(item, "response.refusal.delta", content_index=len(item.parts) - 1, delta=text)
            case {"kind": "encrypted_reasoning", "content": str(content)}:
                item = self._open_item("reasoning") or self._add("reasoning")
                self._close(replace(item, encrypted=content if self._face.encrypted else ""), "completed")

    def _reset(self) -> None:
        """Close the items so far as incomplete; they are no longer part of the output."""
        for item in self.state.items:
            if item.open:
                self._close(item, "incomplete")
        self.state = replace(self.state, items=())

    def _end(self, end: Json) -> None:
        is_whole = end["outcome"] == entries.COMPLETED and end.get("finish_reason") not in INCOMPLETE
        for item in self.state.items:
            if item.open:
                self._close(item, "completed" if is_whole and item.kind != "function_call" else "incomplete")
        self.state = replace(self.state, end=end)
        response = self._face.resource(self.state)
        status = response["status"]
        self._send(f"response.{'failed' if status == entries.CANCELLED else status}", response=response)


def _error_frame(code: str, message: str, status: int = 503) -> bytes:
    """Return the event by which a response's stream breaks off, in both of the forms that OpenAI's SDKs read."""
    body = {"type": "error", "code": code, "message": message, "param": None, **openai_error(status, code, message)}
    return sse_frame(orjson.dumps(body), "error")
