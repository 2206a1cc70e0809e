"""The Anthropic messages face: named events around content blocks (PROTOCOL: Messages/Entries)."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from midstream.faces.messages_blocks import Block, Json, Kind, Said
from midstream.faces.peer_errors import anthropic_error, failure_of
from midstream.log.entries import (
    COMPLETED,
    DATA,
    END,
    REASONING,
    RESET,
    TEXT,
    TOOL_CALL,
    TOOL_INPUT,
    Entry,
    Stored,
    decode,
)

PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP_REASONS: Final = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}
# Anthropic's description requires these of a message, and the log has nothing to say in them.
_UNTOLD_USAGE: Final = {"cache_creation": None, "inference_geo": None, "service_tier": None}


@dataclass(frozen=True)
class MessagesFace:
    """One stream as one message.

    Attributes:
        stream_id: The stream.
        model: The model's name as it was asked for.
    """

    stream_id: str
    model: str

    heartbeat: bytes = field(default=PING, init=False, compare=False)

    def begin(self) -> Said:
        """Return the state in which nothing is said."""
        return Said()

    def frame(self, entry: Stored, state: Said) -> tuple[bytes, Said]:
        """Return the events that an entry makes."""
        if state.over:
            return b"", state
        step = _Step(state)
        if not state.begun:
            step.say("message_start", message=self.message(Said()))
            step.events.append(PING)
            step.state = replace(state, begun=True)
        step.take(decode(entry.content, entry.offset, entry.epoch))
        return b"".join(step.events), step.state

    def parting(self, retry_ms: int) -> bytes:  # noqa: ARG002
        """Return an error: a bare end would look like success."""
        return _error(503, "This server is stopping; the stream goes on by its Stream-Id.")

    def reset(self, reason: str) -> bytes:
        """Return an error: this format cannot take back what it said."""
        return _error(503, f"The message can no longer be continued from here ({reason}).")

    def message(self, said: Said) -> Json:
        """Return the message object as it is behind `said`."""
        end = said.end or {}
        return {
            "id": f"msg_{self.stream_id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [block.shown() for block in said.blocks],
            **_stopped(said),
            "usage": {**usage_of(end.get("usage")), **_UNTOLD_USAGE},
        }


class _Step:
    """One entry's way through the face: events gather, and the state moves on."""

    def __init__(self, state: Said) -> None:
        self.events: list[bytes] = []
        self.state = state

    def take(self, entry: Entry) -> None:
        kind = entry.type
        if kind == TEXT:
            self._write(self._words("text"), entry.text, type="text_delta", text=entry.text)
        elif kind == REASONING:
            self._write(self._words("thinking"), entry.text, type="thinking_delta", thinking=entry.text)
        elif kind in (TOOL_INPUT, TOOL_CALL):
            self._tool(entry)
        elif kind == DATA:
            self._data(entry.data)
        elif kind == RESET and self.state.blocks:
            self.events.append(_error(503, "The answer was begun anew; what came so far is void."))
            self.state = replace(self.state, over=True)
        elif kind == END:
            self._end(entry.data)

    def say(self, kind: str, **facts: Any) -> None:
        self.events.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, **facts})))

    def _data(self, data: Json) -> None:
        match data:
            case {"kind": "refusal", "text": str(text)}:
                self._write(self._words("text"), text, type="text_delta", text=text)
            case {"kind": "reasoning_signature", "signature": str(signature)}:
                block = replace(self._words("thinking"), seal=signature)
                self._say_delta(block, type="signature_delta", signature=signature)
                self._stop(block)
            case {"kind": "redacted_reasoning", "data": str(cipher)}:
                self._stop_words()
                self._stop(self._start(Block("redacted_thinking", len(self.state.blocks), seal=cipher)))
            case {"kind": "stop_sequence", "sequence": str(sequence)}:
                self.state = replace(self.state, stop_sequence=sequence)

    def _words(self, kind: Kind) -> Block:
        """Return the open block of this kind; others of words are stopped."""
        for known in self.state.blocks:
            if known.open and known.kind == kind:
                return known
        self._stop_words()
        return self._start(Block(kind, len(self.state.blocks)))

    def _tool(self, entry: Entry) -> None:
        call_id, whole = str(entry.data["id"]), entry.type == TOOL_CALL
        block = next((known for known in self.state.blocks if known.call_id == call_id), None)
        if block is None:
            self._stop_words()
            name = str(entry.data["name"])
            block = self._start(Block("tool_use", len(self.state.blocks), call_id, name))
        if not (whole and block.content):
            piece = str(entry.data["arguments" if whole else "delta"])
            block = self._write(block, piece, type="input_json_delta", partial_json=piece)
        if whole:
            self._stop(block)

    def _end(self, end: Json) -> None:
        self.state = replace(self.state, end=end, over=True)
        if end["outcome"] != COMPLETED:
            failure = failure_of(end)
            self.events.append(_error(failure.status, failure.message))
            return
        for block in self.state.blocks:
            self._stop(block)
        self.say("message_delta", delta=_stopped(self.state), usage=usage_of(end.get("usage")))
        self.say("message_stop")

    def _start(self, block: Block) -> Block:
        self.state = replace(self.state, blocks=(*self.state.blocks, block))
        self.say("content_block_start", index=block.index, content_block=block.shown())
        return block

    def _write(self, block: Block, piece: str, **delta: str) -> Block:
        self._say_delta(block, **delta)
        return self._put(replace(block, content=(block.content, piece)))

    def _say_delta(self, block: Block, **delta: str) -> None:
        self.say("content_block_delta", index=block.index, delta=delta)

    def _stop_words(self) -> None:
        for block in self.state.blocks:
            if block.kind != "tool_use":
                self._stop(block)

    def _stop(self, block: Block) -> None:
        if block.open:
            self.say("content_block_stop", index=block.index)
            self._put(replace(block, open=False))

    def _put(self, block: Block) -> Block:
        blocks = tuple(block if known.index == block.index else known for known in self.state.blocks)
        self.state = replace(self.state, blocks=blocks)
        return block


def _stopped(said: Said) -> Json:
    """Return why a message stopped, if it has."""
    reason = None
    if said.end:
        reason = _STOP_REASONS.get(said.end.get("finish_reason") or "", "end_turn")
        if said.stop_sequence is not None:
            reason = "stop_sequence"
    return {"stop_reason": reason, "stop_sequence": said.stop_sequence, "stop_details": None, "container": None}


def usage_of(usage: Json | None) -> Json:
    """Return the counted tokens in Anthropic's shape; 0 where the provider has not told them (yet)."""
    counted = usage or {"input_tokens": 0, "output_tokens": 0}
    details = counted.get("details") or {}
    read = details.get("cache_read_input_tokens", details.get("cached_tokens", 0))
    return {
        "input_tokens": counted["input_tokens"],
        "output_tokens": counted["output_tokens"],
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": details.get("cache_creation_input_tokens", 0),
        "server_tool_use": None,
    }


def _error(status: int, message: str) -> bytes:
    return b"event: error\ndata: %s\n\n" % orjson.dumps(anthropic_error(status, message))
