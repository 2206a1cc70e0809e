"""The AI SDK's UI message stream (PROTOCOL: The AI SDK face): what `useChat` reads, of majors 5, 6 and 7."""

from dataclasses import dataclass, replace
from typing import ClassVar, Final

import orjson

from midstream.faces.face import FACE_BYTES, Step
from midstream.faces.peer_errors import CREDENTIAL_OVER
from midstream.faces.sse_frames import DONE, HEARTBEAT, sse_frame, with_id, with_retry
from midstream.faces.ui_parts import data_part, error_part, file_part, source_part, tool_result_part
from midstream.log import entries
from midstream.log.entries import Call, Entry, Json, Stored, call_of, decode

RESETTING_MAJOR: Final = 7
"""The first major of the SDK that reads `reset-step`; to an older one it is an error."""
TAG_CHARS: Final = 8
"""Characters of a stream's id that stand in its cursors."""

_FINISH_REASONS: Final = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "refusal": "content-filter",
}
_BROKER_STOPS: Final = "The connection is closed by a restart here. The answer goes on: resume to read it."
_RESTARTED: Final = "The answer is being written anew. Resume to read it."


@dataclass(frozen=True, slots=True)
class UiMessagesState:
    """What has been sent of a message.

    Attributes:
        started: Whether `start` has been sent.
        open: The type of the text or reasoning part that is still open, or nothing.
        part_id: That part's id: the offset at which it begins, so that it is the same wherever a client came in.
        inputs: Id and name of each tool call whose input is still being written.
        call_ids: Ids of the tool calls that a result may belong to.
        has_content: Whether something has been sent that a reset would have to take back.
        finished: Whether the end or an error has been sent; nothing follows it.
    """

    started: bool = False
    open: str = ""
    part_id: int = 0
    inputs: tuple[tuple[str, str], ...] = ()
    call_ids: frozenset[str] = frozenset()
    has_content: bool = False
    finished: bool = False


@dataclass(frozen=True, slots=True)
class UiMessagesFace:
    """One stream as one assistant message.

    Attributes:
        message_id: The message's id, the same at every replay.
        tag: The start of the stream's id, which tells its cursors from those of the chat's other streams.
        major: The client's major version of the SDK; 0 where it did not say.
        after_reset: The offset of the `reset` after which the client begins to read; 0 where it reads all.
    """

    message_id: str
    tag: str
    major: int = 0
    after_reset: int = 0

    heartbeat: ClassVar[bytes] = HEARTBEAT
    remembers_text: ClassVar[bool] = False
    size_bytes: ClassVar[int] = FACE_BYTES

    def begin(self) -> UiMessagesState:
        """Return the state in which nothing has been sent."""
        return UiMessagesState()

    def frame(self, entry: Stored, state: UiMessagesState) -> tuple[bytes, UiMessagesState]:
        """Return an entry's parts; the last of them has the cursor as its id, so that no entry is cut in its middle."""
        return self.merged_frame(entry.offset, entry, state)

    def merged_frame(self, first: int, entry: Stored, state: UiMessagesState) -> tuple[bytes, UiMessagesState]:
        """Return the parts of an entry that stands for several; a part that it begins has the `first` offset as id."""
        if state.finished or entry.offset < self.after_reset:
            return b"", state
        step = _Step(self, state, first)
        step.take(decode(entry.content, entry.offset, entry.epoch))
        return b"".join(step.frames), step.state

    def broker_stop(self, retry_ms: int) -> bytes:
        """Return an error: to the SDK, a response that just ends is a finished answer."""
        return with_retry(retry_ms, _part_frame(error_part(_BROKER_STOPS), "parting")) + DONE

    def credential_end(self, reason: str) -> bytes:  # noqa: ARG002
        """Return an error under the name of a parting, after which a client comes back with a new credential."""
        return _part_frame(error_part(CREDENTIAL_OVER), "parting") + DONE

    def reset(self, reason: str) -> bytes:
        """Return what makes a client forget what it has: in place where it can, else by way of an error."""
        is_gone = reason in ("deleted", "gone")
        if self.is_resetting and not is_gone:
            return self.reset_step(0)
        return _part_frame(error_part("The answer was deleted." if is_gone else _RESTARTED), "reset") + DONE

    def reset_step(self, offset: int) -> bytes:
        """Return the part that takes the answer back, for a client that reads it."""
        return with_id(self.cursor(offset), _part_frame({"type": "reset-step"}))

    def boundary(self, offset: int) -> bytes:
        """Return the part that ends a replay; tools that were called before it have been run already."""
        return _part_frame({"type": "data-replay", "data": {"offset": offset}, "transient": True})

    def cursor(self, offset: int) -> str:
        """Return the id of the frame that ends with the entry at an offset."""
        return f"{self.tag}.{offset}"

    @property
    def is_resetting(self) -> bool:
        """Whether the client reads `reset-step`."""
        return self.major >= RESETTING_MAJOR


class _Step(Step[UiMessagesState]):
    """One entry's way through a message."""

    def __init__(self, face: UiMessagesFace, state: UiMessagesState, first: int) -> None:
        super().__init__(state)
        self._face = face
        self._first = first

    def take(self, entry: Entry) -> None:
        # A client that begins to read after a reset was sent nothing that this one would take back.
        if entry.type == entries.RESET and entry.offset != self._face.after_reset:
            self._reset(entry.offset)
            return
        if not self.state.started:
            self.state = replace(self.state, started=True)
            self._send({"type": "start", "messageId": self._face.message_id})
            self._send({"type": "start-step"})
        match entry.type:
            case entries.TEXT | entries.REASONING:
                self._text(entry)
            case entries.STATUS | entries.USAGE:
                self._send({"type": f"data-{entry.type}", "data": entry.data, "transient": True})
            case entries.END:
                self._end(entry.data)
            case entries.START | entries.RESET | entries.STEP:
                pass
            case _:
                self._between_texts(entry)
        if self.frames:
            self.frames[-1] = with_id(self._face.cursor(entry.offset), self.frames[-1])

    def _reset(self, offset: int) -> None:
        if not self.state.has_content:
            self.state = UiMessagesState(started=self.state.started)
        elif self._face.is_resetting:
            self.state = UiMessagesState(started=self.state.started)
            self.frames.append(self._face.reset_step(offset))
        else:
            self._close_part()
            self.frames += (_part_frame(error_part(_RESTARTED), "reset"), DONE)
            self.state = replace(self.state, finished=True)

    def _text(self, entry: Entry) -> None:
        """Send a piece of text or reasoning, in the part that is open or in a new one."""
        kind = entry.type
        if self.state.open != kind:
            self._close_part()
            self.state = replace(self.state, open=kind, part_id=self._first, has_content=True)
            self._send({"type": f"{kind}-start", "id": str(self.state.part_id)})
        self._send({"type": f"{kind}-delta", "id": str(self.state.part_id), "delta": entry.text})

    def _between_texts(self, entry: Entry) -> None:
        """Send anything else that belongs to the answer; a text that was open ends before it."""
        self._close_part()
        self.state = replace(self.state, has_content=True)
        data = entry.data
        match entry.type:
            case entries.TOOL_INPUT:
                self._tool_input(call_of(entry))
            case entries.TOOL_CALL:
                self._tool_call(call_of(entry))
            case entries.TOOL_RESULT:
                self._send(tool_result_part(data, self.state.call_ids))
            case entries.SOURCE:
                self._send(source_part(data))
            case entries.FILE:
                self._send(file_part(data))
            case entries.DATA:
                others = {name: value for name, value in data.items() if name != "kind"}
                self._send(data_part(data.get("kind") or entries.DATA, others))

    def _tool_input(self, call: Call) -> None:
        if call.id not in dict(self.state.inputs):
            self._send({"type": "tool-input-start", "toolCallId": call.id, "toolName": call.name})
            inputs, call_ids = (*self.state.inputs, (call.id, call.name)), self.state.call_ids | {call.id}
            self.state = replace(self.state, inputs=inputs, call_ids=call_ids)
        self._send({"type": "tool-input-delta", "toolCallId": call.id, "inputTextDelta": call.piece})

    def _tool_call(self, call: Call) -> None:
        inputs = tuple((other_id, name) for other_id, name in self.state.inputs if other_id != call.id)
        self.state = replace(self.state, inputs=inputs, call_ids=self.state.call_ids | {call.id})
        named = {"toolCallId": call.id, "toolName": call.name}
        try:
            self._send({"type": "tool-input-available", **named, "input": orjson.loads(call.piece)})
        except orjson.JSONDecodeError:
            error = "The model's arguments are no JSON."
            self._send({"type": "tool-input-error", **named, "input": call.piece, "errorText": error})

    def _end(self, end: Json) -> None:
        """Close the open part, and send how the answer ended.

        After a stop, a tool call whose input is cut stays as it is. If it were marked as failed it would count as
        answered, and a page that sends answered calls by itself would start, and pay for, the generation anew.
        """
        self._close_part()
        match end["outcome"]:
            case entries.COMPLETED:
                self._send({"type": "finish-step"})
                self._send({"type": "finish", "finishReason": _FINISH_REASONS.get(end["finish_reason"], "other")})
            case entries.CANCELLED:
                self._send({"type": "abort", "reason": "stopped"})
            case outcome:
                self._failure(outcome, end["error"] or {})
        self.frames.append(DONE)
        self.state = replace(self.state, finished=True)

    def _failure(self, outcome: str, error: Json) -> None:
        message = error.get("message") or f"The answer was {outcome}."
        for call_id, name in self.state.inputs:
            call = {"toolCallId": call_id, "toolName": name, "input": None}
            self._send({"type": "tool-input-error", **call, "errorText": "The answer was cut here."})
        fields = {"code": error.get("code"), "message": message, "outcome": outcome}
        self._send({"type": "data-error", "data": fields, "transient": True})
        self._send(error_part(message))

    def _close_part(self) -> None:
        if self.state.open:
            self._send({"type": f"{self.state.open}-end", "id": str(self.state.part_id)})
            self.state = replace(self.state, open="")

    def _send(self, part: Json) -> None:
        self.frames.append(_part_frame(part))


def _part_frame(part: Json, event: str = "") -> bytes:
    return sse_frame(orjson.dumps(part), event)
