"""The AI SDK's UI message stream (PROTOCOL: The AI SDK face): what `useChat` reads, of majors 5, 6 and 7."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from midstream.log.entries import CANCELLED, COMPLETED, REASONING, RESET, TEXT, Stored, decode

RESETTING_MAJOR: Final = 7
"""The first major of the SDK that reads `reset-step`; to an older one it is an error."""
TAG_CHARS: Final = 8
"""Characters of a stream's id that stand in its cursors."""

_TEXT_BYTE: Final = b"t"[0]
_REASONING_BYTE: Final = b"r"[0]
_KIND: Final = re.compile(r"[^a-z0-9]+")
_FINISH_REASONS: Final = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "refusal": "content-filter",
}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client has been shown of the message so far.

    Attributes:
        begun: It was sent `start`.
        open: The type of the text or reasoning part that is still open, or nothing.
        part: The offset at which that one begins: its id, however much a client was shown before it.
        inputs: Tool calls, by id, whose input is still being written.
        calls: Ids of the tool calls that may be given a result.
        dirty: It was sent something that a reset has to take back.
        over: It was sent its last part.
    """

    begun: bool = False
    open: str = ""
    part: int = 0
    inputs: tuple[tuple[str, str], ...] = ()
    calls: frozenset[str] = frozenset()
    dirty: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class UiMessagesFace:
    """One stream as one assistant message.

    Attributes:
        message_id: The message's id, the same at every replay.
        tag: The start of the stream's id, which tells its cursors from those of the chat's other streams.
        major: The client's major version of the SDK; 0 where it did not say.
        anew: The offset of the `reset` that the client is not shown, nor anything before it.
    """

    message_id: str
    tag: str
    major: int = 0
    anew: int = 0

    heartbeat = b":\n\n"

    def begin(self) -> Shown:
        """Return what a client has been shown before the first entry: nothing."""
        return Shown()

    def frame(self, entry: Stored, state: Shown) -> tuple[bytes, Shown]:
        """Return an entry's parts; the last of them carries the cursor, so that none is cut in its middle."""
        if state.over or entry.offset < self.anew:
            return b"", state
        if entry.content[0] in (_TEXT_BYTE, _REASONING_BYTE):
            kind = TEXT if entry.content[0] == _TEXT_BYTE else REASONING
            chunks, state = _run(kind, entry.content[1:].decode(), entry.offset, state)
        else:
            decoded = decode(entry.content, entry.offset, entry.epoch)
            if decoded.type == RESET and entry.offset != self.anew:
                return self._reset(state, entry.offset)
            chunks, state = _chunks(decoded.type, decoded.data, state)
        if not state.begun:
            state = replace(state, begun=True)
            chunks = [{"type": "start", "messageId": self.message_id}, {"type": "start-step"}, *chunks]
        return self._framed(chunks, entry.offset, done=state.over), state

    def parting(self, retry_ms: int) -> bytes:
        """Return an error: to the SDK, a response that just ends is a finished answer."""
        error = _event({"type": "error", "errorText": _PARTING})
        return b"retry: %d\nevent: parting\n%b%b" % (retry_ms, error, _DONE_EVENT)

    def reset(self, reason: str) -> bytes:
        """Return what makes a client forget what it has: in place where it can, else by way of an error."""
        gone = reason in ("deleted", "gone")
        if self.major >= RESETTING_MAJOR and not gone:
            return self._framed([{"type": "reset-step"}], 0)
        said = "The answer was deleted." if gone else _ANEW
        return b"event: reset\n%b%b" % (_event({"type": "error", "errorText": said}), _DONE_EVENT)

    def mark(self, offset: int) -> bytes:
        """Return the part that ends a replay; what was called for before it has been called for already."""
        return _event({"type": "data-replay", "data": {"offset": offset}, "transient": True})

    def _reset(self, state: Shown, offset: int) -> tuple[bytes, Shown]:
        fresh = Shown(begun=state.begun)
        if not state.dirty:
            return b"", fresh
        if self.major >= RESETTING_MAJOR:
            return self._framed([{"type": "reset-step"}], offset), fresh
        closing, _ = _closed(state)
        error = {"type": "error", "errorText": _ANEW}
        frames = b"".join(_event(chunk) for chunk in closing)
        return b"%bevent: reset\n%b%b" % (frames, _event(error), _DONE_EVENT), replace(state, over=True)

    def _framed(self, chunks: Iterable[Json], offset: int, *, done: bool = False) -> bytes:
        events = [_event(chunk) for chunk in chunks]
        if done:
            events.append(_DONE_EVENT)
        if not events:
            return b""
        events[-1] = b"id: %b.%d\n%b" % (self.tag.encode(), offset, events[-1])
        return b"".join(events)


def _event(chunk: Json) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(chunk)


_DONE_EVENT: Final = b"data: [DONE]\n\n"
_PARTING: Final = "The connection is closed by a restart here. The answer goes on: resume to read it."
_ANEW: Final = "The answer is being written anew. Resume to read it."


def _run(kind: str, text: str, offset: int, state: Shown) -> tuple[list[Json], Shown]:
    """Return a piece of text or reasoning, in the part that is open or in a new one."""
    chunks: list[Json] = []
    if state.open != kind:
        chunks, state = _closed(state)
        state = replace(state, open=kind, part=offset)
        chunks.append({"type": f"{kind}-start", "id": str(state.part)})
    chunks.append({"type": f"{kind}-delta", "id": str(state.part), "delta": text})
    return chunks, replace(state, dirty=True)


def _closed(state: Shown) -> tuple[list[Json], Shown]:
    """Return what closes the open part."""
    if not state.open:
        return [], state
    return [{"type": f"{state.open}-end", "id": str(state.part)}], replace(state, open="")


def _chunks(kind: str, data: Json, state: Shown) -> tuple[list[Json], Shown]:
    match kind:
        case "start" | "reset":
            return [], state
        case "status" | "usage":
            return [{"type": f"data-{kind}", "data": data, "transient": True}], state
        case "end":
            return _end(data, state)
    closing, state = _closed(state)
    match kind:
        case "tool_input":
            chunks, state = _tool_input(data, state)
        case "tool_call":
            chunks, state = _tool_call(data, state)
        case "tool_result":
            chunks = [_tool_result(data, state)]
        case "source":
            chunks = [_source(data)]
        case "file":
            chunks = [_file(data)]
        case _:
            chunks = [_data(data.get("kind") or kind, {name: it for name, it in data.items() if name != "kind"})]
    return closing + chunks, replace(state, dirty=True)


def _tool_input(data: Json, state: Shown) -> tuple[list[Json], Shown]:
    call_id, name = data["id"], data["name"]
    delta = {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": data["delta"]}
    if call_id in dict(state.inputs):
        return [delta], state
    begun = {"type": "tool-input-start", "toolCallId": call_id, "toolName": name}
    state = replace(state, inputs=(*state.inputs, (call_id, name)), calls=state.calls | {call_id})
    return [begun, delta], state


def _tool_call(data: Json, state: Shown) -> tuple[list[Json], Shown]:
    call = {"toolCallId": data["id"], "toolName": data["name"]}
    inputs = tuple((known, name) for known, name in state.inputs if known != data["id"])
    state = replace(state, inputs=inputs, calls=state.calls | {data["id"]})
    try:
        return [{"type": "tool-input-available", **call, "input": orjson.loads(data["arguments"])}], state
    except orjson.JSONDecodeError:
        error = "The model's arguments are no JSON."
        return [{"type": "tool-input-error", **call, "input": data["arguments"], "errorText": error}], state


def _tool_result(data: Json, state: Shown) -> Json:
    call_id = data.get("tool_call_id") or data.get("call_id") or data.get("id")
    if call_id not in state.calls:  # the SDK breaks off at a result without a call
        return _data("tool-result", data)
    if data.get("error") is not None:
        return {"type": "tool-output-error", "toolCallId": call_id, "errorText": str(data["error"])}
    return {"type": "tool-output-available", "toolCallId": call_id, "output": data.get("output")}


def _source(data: Json) -> Json:
    source_id = str(data.get("id") or data.get("url") or "source")
    if isinstance(data.get("url"), str):
        return _known({"type": "source-url", "sourceId": source_id, "url": data["url"], "title": data.get("title")})
    return _known(
        {
            "type": "source-document",
            "sourceId": source_id,
            "mediaType": str(data.get("media_type") or "application/octet-stream"),
            "title": str(data.get("title") or source_id),
            "filename": data.get("filename"),
        }
    )


def _file(data: Json) -> Json:
    media_type = str(data.get("media_type") or data.get("mediaType") or "application/octet-stream")
    if isinstance(data.get("url"), str):
        return {"type": "file", "url": data["url"], "mediaType": media_type}
    if isinstance(data.get("data"), str):
        return {"type": "file", "url": f"data:{media_type};base64,{data['data']}", "mediaType": media_type}
    return _data("file", data)


def _data(kind: Any, data: Json) -> Json:
    name = _KIND.sub("-", str(kind).lower()).strip("-") or "entry"
    return {"type": f"data-{name}", "data": data}


def _known(chunk: Json) -> Json:
    return {name: value for name, value in chunk.items() if value is not None}


def _end(data: Json, state: Shown) -> tuple[list[Json], Shown]:
    """Return the closed parts and the word that tells how it ended.

    A tool call that is cut in its input stays as it is behind a stop: marked as failed it would count as
    answered, and a page that sends answered calls by itself would begin, and pay, the generation anew.
    """
    chunks, state = _closed(state)
    state = replace(state, over=True)
    if data["outcome"] == COMPLETED:
        reason = _FINISH_REASONS.get(data["finish_reason"], "other")
        return [*chunks, {"type": "finish-step"}, {"type": "finish", "finishReason": reason}], state
    if data["outcome"] == CANCELLED:
        return [*chunks, {"type": "abort", "reason": "stopped"}], state
    error = data["error"] or {}
    said = error.get("message") or f"The answer was {data['outcome']}."
    for call_id, name in state.inputs:
        call = {"toolCallId": call_id, "toolName": name, "input": None}
        chunks.append({"type": "tool-input-error", **call, "errorText": "The answer was cut here."})
    facts = {"code": error.get("code"), "message": said, "outcome": data["outcome"]}
    chunks.append({"type": "data-error", "data": facts, "transient": True})
    return [*chunks, {"type": "error", "errorText": said}], state
