"""Anthropic messages."""

from collections.abc import AsyncGenerator, Iterator
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from midstream.testing.provider.event_stream import GARBAGE, EventStream, frame, json_answer
from midstream.testing.provider.script import Broken, Kind, Script, Step, play
from midstream.testing.provider.start import Started, start
from midstream.testing.provider.strictness import refuse_message

Json = dict[str, Any]

REDACTED = "cmVkYWN0ZWQ="

_TYPES = {401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error"} | {
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error_body(status: int, message: str, code: str | None) -> Json:
    """Return the body of an error in the words of this dialect."""
    default = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
    return {"type": "error", "error": {"type": code or _TYPES.get(status, default), "message": message}}


def _refuse(request: Request, body: Json) -> Json | None:
    refusal = refuse_message(body, request.headers.get("anthropic-beta"))
    return error_body(HTTPStatus.BAD_REQUEST, refusal.message, None) if refusal else None


async def count_tokens(request: Request) -> Response:
    """`POST /v1/messages/count_tokens`."""
    body = await request.json()
    call = request.app.state.ledger.enter("count_tokens", body, billed=False)
    if refusal := _refuse(request, {"max_tokens": 1, **body}):
        call.status = 400
        return json_answer(refusal, call)
    return json_answer({"input_tokens": len(str(body["messages"]))}, call)


async def create(request: Request) -> Response:
    """`POST /v1/messages`."""
    started = await start(request, "messages", "messages", error_body, _refuse)
    if isinstance(started, Response):
        return started
    started.call.betas = request.headers.get("anthropic-beta")
    if started.body.get("stream"):
        return EventStream(_frames(started), started.call)
    script = started.script
    async for _ in play(script, None):
        started.call.steps_sent += 1
    text = {"type": "text", "text": script.text()}
    ending = {"content": [text], **_stopped(script), "usage": _usage(script)}
    return json_answer(_message(started) | ending, started.call)


async def _frames(started: Started) -> AsyncGenerator[bytes]:
    script = started.script
    blocks = _Blocks()
    yield _event("message_start", message=_message(started))
    yield _event("ping")
    try:
        async for step in play(script, started.fail):
            for data in blocks.write(step):
                yield data
            started.call.steps_sent += 1
    except Broken as broken:
        if broken.fail in ("reset", "eof"):
            raise
        error = error_body(529, "it broke, as the script says", script.error_code)
        yield GARBAGE.replace(b"data", b"event: ping_\ndata") if broken.fail == "garbage" else frame(error, "error")
        return
    for data in blocks.end():
        yield data
    yield _event("message_delta", delta=_stopped(script), usage=_usage(script))
    yield _event("message_stop")


class _Blocks:
    """Wraps deltas in content blocks: a new one whenever the kind changes."""

    def __init__(self) -> None:
        self._index = -1
        self._kind: Kind | None = None

    def write(self, step: Step) -> Iterator[bytes]:
        if step.kind != self._kind:
            yield from self.end()
            self._index += 1
            self._kind = step.kind
            yield _event("content_block_start", index=self._index, content_block=_block(step.kind))
            if step.kind == "tool":  # the real one begins so
                yield self._delta({"type": "input_json_delta", "partial_json": ""})
        match step.kind:
            case "redacted" | "hidden":
                pass
            case "reasoning":
                yield self._delta({"type": "thinking_delta", "thinking": step.piece})
            case "tool":
                yield self._delta({"type": "input_json_delta", "partial_json": step.piece})
            case _:
                yield self._delta({"type": "text_delta", "text": step.piece})

    def end(self) -> Iterator[bytes]:
        if self._kind in ("reasoning", "hidden"):
            yield self._delta({"type": "signature_delta", "signature": signature(self._index)})
        if self._kind:
            yield _event("content_block_stop", index=self._index)

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)


def signature(index: int) -> str:
    """Return the signature of the thinking block at an index."""
    return f"signed-{index}"


def _block(kind: Kind) -> Json:
    match kind:
        case "redacted":
            return {"type": "redacted_thinking", "data": REDACTED}
        case "reasoning" | "hidden":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool":
            return {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
        case _:
            return {"type": "text", "text": ""}


def _event(kind: str, **facts: Any) -> bytes:
    return frame({"type": kind, **facts}, kind)


def _message(started: Started) -> Json:
    return {
        "id": f"msg_{started.call.number}",
        "type": "message",
        "role": "assistant",
        "model": started.body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
    }


def _stopped(script: Script) -> Json:
    return {"stop_reason": _stop_reason(script), "stop_sequence": script.stopped_by}


def _stop_reason(script: Script) -> str:
    if script.stopped_by:
        return "stop_sequence"
    if script.refuse:
        return "refusal"
    if script.finish == "length":
        return "max_tokens"
    return "tool_use" if script.tool else "end_turn"


def _usage(script: Script) -> Json:
    return {"output_tokens": script.words + script.reasoning, "input_tokens": 7}
