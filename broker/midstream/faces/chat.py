"""The OpenAI chat completions face: chunks, then `[DONE]` (PROTOCOL: Completions/Entries)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import orjson

from midstream.faces.face import FACE_BYTES, Step
from midstream.faces.peer_errors import CREDENTIAL_OVER, failure_of, openai_error
from midstream.faces.sse_frames import DONE, HEARTBEAT, sse_frame
from midstream.faces.token_usage import chat_usage
from midstream.log import entries
from midstream.log.entries import Call, Entry, Json, Stored, call_of, decode


@dataclass(frozen=True, slots=True)
class ChatState:
    """What has been sent of a completion.

    Attributes:
        started: Whether the first chunk has been sent.
        has_content: Whether something has been sent that a reset would have to take back.
        call_ids: The ids of the tool calls, in the order of their indexes.
        finished: Whether the end or an error has been sent; nothing follows it.
    """

    started: bool = False
    has_content: bool = False
    call_ids: tuple[str, ...] = ()
    finished: bool = False


@dataclass(frozen=True, slots=True)
class ChatFace:
    """One stream as one chat completion.

    Attributes:
        stream_id: The stream.
        created_ms: Its time of creation.
        model: The model's name as the request gave it.
        include_usage: Whether the last chunk holds the usage.
    """

    stream_id: str
    created_ms: int
    model: str
    include_usage: bool = False

    heartbeat: ClassVar[bytes] = HEARTBEAT
    remembers_text: ClassVar[bool] = False
    size_bytes: ClassVar[int] = FACE_BYTES

    def begin(self) -> ChatState:
        """Return the state in which nothing has been sent."""
        return ChatState()

    def frame(self, entry: Stored, state: ChatState) -> tuple[bytes, ChatState]:
        """Return the chunks that an entry makes."""
        if state.finished:
            return b"", state
        step = _Step(self, state)
        step.take(decode(entry.content, entry.offset, entry.epoch))
        return b"".join(step.frames), step.state

    def broker_stop(self, retry_ms: int) -> bytes:  # noqa: ARG002
        """Return an error, because a bare end would look like success."""
        return _error_frame(503, "stream_moved", "This broker is stopping; the stream goes on by its `Stream-Id`.")

    def credential_end(self, reason: str) -> bytes:
        """Return an error, because a bare end would look like success."""
        return _error_frame(401, reason, CREDENTIAL_OVER)

    def reset(self, reason: str) -> bytes:
        """Return an error, because this format cannot take back what it has sent."""
        return _error_frame(503, f"stream_{reason}", "The completion can no longer be continued from here.")

    def head(self, kind: str = "chat.completion") -> Json:
        """Return the fields with which every chunk, and the whole completion, begin."""
        created = self.created_ms // 1000
        return {"id": f"chatcmpl-{self.stream_id}", "object": kind, "created": created, "model": self.model}

    def chunk(self, choices: list[Json], usage: Json | None = None) -> bytes:
        """Return the frame of a chunk."""
        fields = {"usage": usage} if self.include_usage else {}
        return sse_frame(orjson.dumps({**self.head("chat.completion.chunk"), "choices": choices, **fields}))


class _Step(Step[ChatState]):
    """One entry's way through a completion."""

    def __init__(self, face: ChatFace, state: ChatState) -> None:
        super().__init__(state)
        self._face = face

    def take(self, entry: Entry) -> None:
        if not self.state.started:
            self.state = replace(self.state, started=True)
            self._send({"role": "assistant", "content": "", "refusal": None})
        data = entry.data
        match entry.type:
            case entries.TEXT:
                self._send_content({"content": entry.text})
            case entries.REASONING:
                self._send_content({"reasoning_content": entry.text})
            case entries.DATA if data.get("kind") == "refusal":
                self._send_content({"refusal": data["text"]})
            case entries.SOURCE:
                self._send_content({"annotations": [citation(data)]})
            case entries.TOOL_INPUT:
                self._send_call(call_of(entry))
            case entries.TOOL_CALL if call_of(entry).id not in self.state.call_ids:
                self._send_call(call_of(entry))
            case entries.RESET if self.state.has_content:
                self._finish(self._face.reset("restarted"))
            case entries.END:
                self._end(data)

    def _send_call(self, call: Call) -> None:
        """Send a piece of a call's arguments; the first one comes with the call's id and name."""
        call_ids = self.state.call_ids
        if call.id in call_ids:
            sent: Json = {"index": call_ids.index(call.id), "function": {"arguments": call.piece}}
        else:
            function = {"name": call.name, "arguments": call.piece}
            sent = {"index": len(call_ids), "id": call.id, "type": "function", "function": function}
            self.state = replace(self.state, call_ids=(*call_ids, call.id))
        self._send_content({"tool_calls": [sent]})

    def _end(self, end: Json) -> None:
        if end["outcome"] != entries.COMPLETED:
            failure = failure_of(end)
            self._finish(_error_frame(failure.status, failure.code, failure.message))
            return
        self._send({}, finish_reason(end))
        if self._face.include_usage:
            self.frames.append(self._face.chunk([], chat_usage(end.get("usage"))))
        self._finish(DONE)

    def _send_content(self, delta: Json) -> None:
        if not self.state.has_content:
            self.state = replace(self.state, has_content=True)
        self._send(delta)

    def _send(self, delta: Json, reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        self.frames.append(self._face.chunk([choice]))

    def _finish(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.state = replace(self.state, finished=True)


def finish_reason(end: Json) -> str:
    """Return a completion's finish reason; a refusal in words is a plain end, as it is with OpenAI."""
    reason = end.get("finish_reason")
    return "stop" if reason in (None, "refusal") else str(reason)


def citation(source: Json) -> Json:
    """Return a source as an annotation."""
    cited = {"url": source.get("url") or "", "title": source.get("title") or "", "start_index": 0, "end_index": 0}
    return {"type": "url_citation", "url_citation": cited}


def _error_frame(status: int, code: str, message: str) -> bytes:
    return sse_frame(orjson.dumps(openai_error(status, code, message)))
