"""The Anthropic messages face: named events around content blocks (PROTOCOL: Messages/Entries)."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import orjson

from midstream.faces.face import FACE_BYTES, Step
from midstream.faces.messages_blocks import Block, Kind
from midstream.faces.peer_errors import CREDENTIAL_OVER, anthropic_error, failure_of
from midstream.faces.sse_frames import sse_frame
from midstream.faces.token_usage import messages_usage
from midstream.log import entries
from midstream.log.entries import Entry, Json, Stored, call_of, decode

PING: Final = sse_frame(b'{"type":"ping"}', "ping")
_STOP_REASONS: Final = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}
# Anthropic's description requires these of a message, and the log holds nothing to fill them with.
_UNKNOWN_USAGE: Final = {"cache_creation": None, "inference_geo": None, "service_tier": None}


@dataclass(frozen=True, slots=True)
class MessagesState:
    """What has been sent of a message.

    Attributes:
        started: Whether `message_start` has been sent.
        blocks: Its content.
        stop_sequence: The stop sequence that ended it.
        end: The data of the `end` entry once it has come.
        finished: Whether the end or an error has been sent; nothing follows it.
    """

    started: bool = False
    blocks: tuple[Block, ...] = ()
    stop_sequence: str | None = None
    end: Json | None = None
    finished: bool = False


@dataclass(frozen=True, slots=True)
class MessagesFace:
    """One stream as one message.

    Attributes:
        stream_id: The stream.
        model: The model's name as the request gave it.
    """

    stream_id: str
    model: str

    heartbeat: ClassVar[bytes] = PING
    remembers_text: ClassVar[bool] = True
    size_bytes: ClassVar[int] = FACE_BYTES

    def begin(self) -> MessagesState:
        """Return the state in which nothing has been sent."""
        return MessagesState()

    def frame(self, entry: Stored, state: MessagesState) -> tuple[bytes, MessagesState]:
        """Return the events that an entry makes."""
        if state.finished:
            return b"", state
        step = _Step(self, state)
        step.take(decode(entry.content, entry.offset, entry.epoch))
        return b"".join(step.frames), step.state

    def broker_stop(self, retry_ms: int) -> bytes:  # noqa: ARG002
        """Return an error, because a bare end would look like success."""
        return _error_frame(503, "This broker is stopping; the stream goes on by its Stream-Id.")

    def credential_end(self, reason: str) -> bytes:  # noqa: ARG002
        """Return an error, because a bare end would look like success."""
        return _error_frame(401, CREDENTIAL_OVER)

    def reset(self, reason: str) -> bytes:
        """Return an error, because this format cannot take back what it has sent."""
        return _error_frame(503, f"The message can no longer be continued from here ({reason}).")

    def message(self, state: MessagesState) -> Json:
        """Return the message object as it is in a state."""
        end = state.end or {}
        return {
            "id": f"msg_{self.stream_id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [block.as_json() for block in state.blocks],
            **_stop_fields(state),
            "usage": {**messages_usage(end.get("usage")), **_UNKNOWN_USAGE},
        }


class _Step(Step[MessagesState]):
    """One entry's way through a message."""

    def __init__(self, face: MessagesFace, state: MessagesState) -> None:
        super().__init__(state)
        self._face = face

    def take(self, entry: Entry) -> None:
        if not self.state.started:
            self._send("message_start", message=self._face.message(self._face.begin()))
            self.frames.append(PING)
            self.state = replace(self.state, started=True)
        match entry.type:
            case entries.TEXT:
                self._write_text(entry.text)
            case entries.REASONING:
                self._write(self._open_block("thinking"), entry.text, type="thinking_delta", thinking=entry.text)
            case entries.TOOL_INPUT | entries.TOOL_CALL:
                self._tool(entry)
            case entries.DATA:
                self._data(entry.data)
            case entries.RESET if self.state.blocks:
                self._fail(503, "The answer was begun anew; what came so far is void.")
            case entries.END:
                self._end(entry.data)

    def _data(self, data: Json) -> None:
        match data:
            case {"kind": "refusal", "text": str(text)}:
                self._write_text(text)
            case {"kind": "reasoning_signature", "signature": str(signature)}:
                block = replace(self._open_block("thinking"), signature=signature)
                self._send_delta(block, type="signature_delta", signature=signature)
                self._stop(block)
            case {"kind": "redacted_reasoning", "data": str(cipher)}:
                self._stop_all_but_calls()
                self._stop(self._start(Block("redacted_thinking", len(self.state.blocks), content=(None, cipher))))
            case {"kind": "stop_sequence", "sequence": str(sequence)}:
                self.state = replace(self.state, stop_sequence=sequence)

    def _tool(self, entry: Entry) -> None:
        call, is_whole = call_of(entry), entry.type == entries.TOOL_CALL
        calls = (block for block in self.state.blocks if block.kind == "tool_use")
        block = next((block for block in calls if block.call_id == call.id), None)
        if block is None:
            self._stop_all_but_calls()
            block = self._start(Block("tool_use", len(self.state.blocks), call.id, call.name))
        if not block.open:
            return
        if not (is_whole and block.content):
            block = self._write(block, call.piece, type="input_json_delta", partial_json=call.piece)
        if is_whole:
            self._stop(block)

    def _end(self, end: Json) -> None:
        self.state = replace(self.state, end=end)
        if end["outcome"] != entries.COMPLETED:
            failure = failure_of(end)
            self._fail(failure.status, failure.message)
            return
        for block in self.state.blocks:
            self._stop(block)
        self._send("message_delta", delta=_stop_fields(self.state), usage=messages_usage(end.get("usage")))
        self._send("message_stop")
        self.state = replace(self.state, finished=True)

    def _open_block(self, kind: Kind) -> Block:
        """Return the open block of this kind, or a new one; other blocks but calls are stopped before it begins."""
        for block in self.state.blocks:
            if block.open and block.kind == kind:
                return block
        self._stop_all_but_calls()
        return self._start(Block(kind, len(self.state.blocks)))

    def _start(self, block: Block) -> Block:
        self.state = replace(self.state, blocks=(*self.state.blocks, block))
        self._send("content_block_start", index=block.index, content_block=block.as_json())
        return block

    def _write_text(self, text: str) -> None:
        self._write(self._open_block("text"), text, type="text_delta", text=text)

    def _write(self, block: Block, piece: str, **delta: str) -> Block:
        self._send_delta(block, **delta)
        return self._put(replace(block, content=(block.content, piece)))

    def _stop_all_but_calls(self) -> None:
        for block in self.state.blocks:
            if block.kind != "tool_use":
                self._stop(block)

    def _stop(self, block: Block) -> None:
        if block.open:
            self._send("content_block_stop", index=block.index)
            self._put(replace(block, open=False))

    def _put(self, block: Block) -> Block:
        """Set a block in its place, and return it."""
        blocks = self.state.blocks
        self.state = replace(self.state, blocks=(*blocks[: block.index], block, *blocks[block.index + 1 :]))
        return block

    def _send_delta(self, block: Block, **delta: str) -> None:
        self._send("content_block_delta", index=block.index, delta=delta)

    def _send(self, kind: str, **fields: Any) -> None:
        self.frames.append(sse_frame(orjson.dumps({"type": kind, **fields}), kind))

    def _fail(self, status: int, message: str) -> None:
        self.frames.append(_error_frame(status, message))
        self.state = replace(self.state, finished=True)


def _stop_fields(state: MessagesState) -> Json:
    """Return why a message stopped; null in each field if it has not."""
    reason = None
    if state.end:
        reason = _STOP_REASONS.get(state.end.get("finish_reason") or "", "end_turn")
        if state.stop_sequence is not None:
            reason = "stop_sequence"
    return {"stop_reason": reason, "stop_sequence": state.stop_sequence, "stop_details": None, "container": None}


def _error_frame(status: int, message: str) -> bytes:
    return sse_frame(orjson.dumps(anthropic_error(status, message)), "error")
