"""The Anthropic messages face: named events around content blocks (PROTOCOL: Faces/Messages)."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from broker.faces.failures import anthropic_error, failure_of
from broker.log.entries import (
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

Json = dict[str, Any]

PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP_REASONS: Final = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A content block that was begun: `text`, `thinking` or `tool_use`.

    Attributes:
        written: Whether any of a tool call's input is out.
        open: Whether its `content_block_stop` is still to come.
    """

    kind: str
    index: int
    call_id: str = ""
    written: bool = False
    open: bool = True


@dataclass(frozen=True, slots=True)
class Said:
    """What a message has said so far; `over` when nothing more is said: the end or an error is out."""

    begun: bool = False
    blocks: tuple[Block, ...] = ()
    over: bool = False


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
            step.say("message_start", message=self.message([], None, None))
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

    def message(self, content: list[Json], reason: str | None, usage: Json | None) -> Json:
        """Return a message object."""
        return {
            "id": f"msg_{self.stream_id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage_of(usage),
        }


class _Step:
    """One entry's way through the face: events gather, and the state moves on."""

    def __init__(self, state: Said) -> None:
        self.events: list[bytes] = []
        self.state = state

    def take(self, entry: Entry) -> None:
        kind = entry.type
        if kind == TEXT or (kind == DATA and entry.data.get("kind") == "refusal"):
            text = str(entry.data["text"])
            self._delta(self._words("text", text=""), type="text_delta", text=text)
        elif kind == REASONING:
            self._delta(self._words("thinking", thinking="", signature=""), type="thinking_delta", thinking=entry.text)
        elif kind in (TOOL_INPUT, TOOL_CALL):
            self._tool(entry)
        elif kind == RESET and self.state.blocks:
            self.events.append(_error(503, "The answer was begun anew; what came so far is void."))
            self.state = replace(self.state, over=True)
        elif kind == END:
            self._end(entry.data)

    def say(self, kind: str, **facts: Any) -> None:
        self.events.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, **facts})))

    def _words(self, kind: str, **block: str) -> Block:
        for known in self.state.blocks:
            if known.open and known.kind == kind:
                return known
        self._stop_words()
        return self._start(Block(kind, len(self.state.blocks)), {"type": kind, **block})

    def _tool(self, entry: Entry) -> None:
        call_id, whole = str(entry.data["id"]), entry.type == TOOL_CALL
        block = next((known for known in self.state.blocks if known.call_id == call_id), None)
        if block is None:
            self._stop_words()
            started = {"type": "tool_use", "id": call_id, "name": entry.data["name"], "input": {}}
            block = self._start(Block("tool_use", len(self.state.blocks), call_id), started)
        if not (whole and block.written):
            piece = str(entry.data["arguments" if whole else "delta"])
            self._delta(block, type="input_json_delta", partial_json=piece)
            block = self._put(replace(block, written=True))
        if whole:
            self._stop(block)

    def _end(self, end: Json) -> None:
        self.state = replace(self.state, over=True)
        if end["outcome"] != COMPLETED:
            failure = failure_of(end)
            self.events.append(_error(failure.status, failure.message))
            return
        for block in self.state.blocks:
            self._stop(block)
        delta = {"stop_reason": stop_reason(end), "stop_sequence": None}
        self.say("message_delta", delta=delta, usage=usage_of(end.get("usage")))
        self.say("message_stop")

    def _start(self, block: Block, content: Json) -> Block:
        self.state = replace(self.state, blocks=(*self.state.blocks, block))
        self.say("content_block_start", index=block.index, content_block=content)
        return block

    def _delta(self, block: Block, **delta: str) -> None:
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


def stop_reason(end: Json) -> str:
    """Return a message's stop reason."""
    return _STOP_REASONS.get(end.get("finish_reason") or "", "end_turn")


def blocks_of(text: str, reasoning: str, calls: list[Json]) -> Iterator[Json]:
    """Yield the content blocks of a whole message."""
    if reasoning:
        yield {"type": "thinking", "thinking": reasoning, "signature": ""}
    if text:
        yield {"type": "text", "text": text, "citations": None}
    for call in calls:
        yield {"type": "tool_use", "id": call["id"], "name": call["name"], "input": _input(call["arguments"])}


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
    }


def _input(arguments: str) -> Any:
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:  # a call that the model cut off
        return {"text": arguments}


def _error(status: int, message: str) -> bytes:
    return b"event: error\ndata: %s\n\n" % orjson.dumps(anthropic_error(status, message))
