"""The OpenAI chat completions face: chunks, then `[DONE]` (PROTOCOL: Completions/Entries)."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from midstream.faces.peer_errors import failure_of, openai_error
from midstream.log.entries import (
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

Json = dict[str, Any]

DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Said:
    """What a completion has said so far.

    Attributes:
        begun: Whether the first chunk is out.
        content: Whether anything is out that a reset would have to take back.
        calls: Ids of the tool calls, in the order of their indexes, and whether fragments of each are out.
        over: Whether nothing more is said: the end or an error is out.
    """

    begun: bool = False
    content: bool = False
    calls: tuple[tuple[str, bool], ...] = ()
    over: bool = False


@dataclass(frozen=True)
class ChatFace:
    """One stream as one chat completion.

    Attributes:
        stream_id: The stream.
        created_ms: Its time of creation.
        model: The model's name as it was asked for.
        include_usage: Whether the last chunk tells the usage.
    """

    stream_id: str
    created_ms: int
    model: str
    include_usage: bool = False

    heartbeat: bytes = field(default=b":\n\n", init=False, compare=False)

    def begin(self) -> Said:
        """Return the state in which nothing is said."""
        return Said()

    def frame(self, entry: Stored, state: Said) -> tuple[bytes, Said]:
        """Return the chunks that an entry makes."""
        if state.over:
            return b"", state
        decoded = decode(entry.content, entry.offset, entry.epoch)
        opening = b"" if state.begun else self._chunk({"role": "assistant", "content": "", "refusal": None})
        frame, state = self._said(decoded, replace(state, begun=True))
        return opening + frame, state

    def parting(self, retry_ms: int) -> bytes:  # noqa: ARG002
        """Return an error: a bare end would look like success."""
        return self._error(503, "stream_moved", "This server is stopping; the stream goes on by its `Stream-Id`.")

    def reset(self, reason: str) -> bytes:
        """Return an error: this format cannot take back what it said."""
        return self._error(503, f"stream_{reason}", "The completion can no longer be continued from here.")

    def head(self, kind: str = "chat.completion") -> Json:
        """Return what every chunk, and the whole completion, begin with."""
        created = self.created_ms // 1000
        return {"id": f"chatcmpl-{self.stream_id}", "object": kind, "created": created, "model": self.model}

    def _said(self, entry: Entry, state: Said) -> tuple[bytes, Said]:
        spoken = replace(state, content=True)
        kind = entry.type
        if kind == TEXT:
            return self._chunk({"content": entry.text}), spoken
        if kind == REASONING:
            return self._chunk({"reasoning_content": entry.text}), spoken
        if kind == DATA and entry.data.get("kind") == "refusal":
            return self._chunk({"refusal": entry.data["text"]}), spoken
        if kind == SOURCE:
            return self._chunk({"annotations": [citation(entry.data)]}), spoken
        if kind in (TOOL_INPUT, TOOL_CALL):
            return self._call(entry, spoken)
        if kind == RESET and state.content:
            return self.reset("restarted"), replace(state, over=True)
        if kind == END:
            return self._end(entry.data), replace(state, over=True)
        return b"", state

    def _call(self, entry: Entry, state: Said) -> tuple[bytes, Said]:
        call_id = str(entry.data["id"])
        whole = entry.type == TOOL_CALL
        piece = str(entry.data["arguments" if whole else "delta"])
        known = dict(state.calls)
        if known.get(call_id) and whole:
            return b"", state
        index = list(known).index(call_id) if call_id in known else len(known)
        call: Json = {"index": index, "function": {"arguments": piece}}
        if call_id not in known:
            function = {"name": entry.data["name"], "arguments": piece}
            call = {"index": index, "id": call_id, "type": "function", "function": function}
        calls = tuple({**known, call_id: True}.items())
        return self._chunk({"tool_calls": [call]}), replace(state, calls=calls)

    def _end(self, end: Json) -> bytes:
        if end["outcome"] != COMPLETED:
            failure = failure_of(end)
            return self._error(failure.status, failure.code, failure.message)
        last = self._chunk({}, finish_reason(end))
        if self.include_usage:
            usage = usage_of(end.get("usage"))
            last += _data({**self.head("chat.completion.chunk"), "choices": [], "usage": usage})
        return last + DONE

    def _chunk(self, delta: Json, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self.include_usage else {}
        return _data({**self.head("chat.completion.chunk"), "choices": [choice], **usage})

    def _error(self, status: int, code: str, message: str) -> bytes:
        return _data(openai_error(status, code, message))


def finish_reason(end: Json) -> str:
    """Return a completion's finish reason; a refusal in words is a plain end, as OpenAI has it."""
    reason = end.get("finish_reason")
    return "stop" if reason in (None, "refusal") else str(reason)


def citation(source: Json) -> Json:
    """Return a source as an annotation."""
    cited = {"url": source.get("url") or "", "title": source.get("title") or "", "start_index": 0, "end_index": 0}
    return {"type": "url_citation", "url_citation": cited}


def usage_of(usage: Json | None) -> Json | None:
    """Return the counted tokens in the shape of chat completions."""
    if not usage:
        return None
    details = usage.get("details") or {}
    taken, given = usage["input_tokens"], usage["output_tokens"]
    cached = details.get("cached_tokens", details.get("cache_read_input_tokens", 0))
    return {
        "prompt_tokens": taken,
        "completion_tokens": given,
        "total_tokens": taken + given,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": details.get("reasoning_tokens", 0)},
    }


def _data(document: Json) -> bytes:
    return b"data: %s\n\n" % orjson.dumps(document)
