"""OpenAI chat completions."""

from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from midstream.testing.provider.event_stream import GARBAGE, EventStream, frame, json_answer
from midstream.testing.provider.script import Broken, Script, Step, play
from midstream.testing.provider.start import Started, start
from midstream.testing.provider.strictness import Refusal, refuse_completion

Json = dict[str, Any]


def error_body(status: int, message: str, code: str | None) -> Json:
    """Return the body of an error in the words of this dialect."""
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def refused(refusal: Refusal) -> Json:
    """Return the error body that tells why a request is refused."""
    error = error_body(HTTPStatus.BAD_REQUEST, refusal.message, refusal.code)
    error["error"]["param"] = refusal.param
    return error


def _refuse(_: Request, body: Json) -> Json | None:
    refusal = refuse_completion(body)
    return refused(refusal) if refusal else None


async def create(request: Request) -> Response:
    """`POST /v1/chat/completions`."""
    started = await start(request, "chat", "messages", error_body, _refuse)
    if isinstance(started, Response):
        return started
    if started.body.get("stream"):
        return EventStream(_frames(started), started.call)
    return await _whole(started)


async def _whole(started: Started) -> Response:
    script = started.script
    async for _ in play(script, None):
        started.call.steps_sent += 1
    message = {"role": "assistant", "content": script.text(), "refusal": script.refusal() or None}
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(script), "logprobs": None}
    body = {**_head(started), "object": "chat.completion", "choices": [choice], "usage": _usage(script)}
    return json_answer(body, started.call)


async def _frames(started: Started) -> AsyncGenerator[bytes]:
    script = started.script
    head = {**_head(started), "object": "chat.completion.chunk"}
    yield _chunk(head, {"role": "assistant", "content": ""})
    try:
        named = False
        async for step in play(script, started.fail):
            yield _chunk(head, _delta(step, first=not named))
            named = named or step.kind == "tool"
            started.call.steps_sent += 1
    except Broken as broken:
        if broken.fail in ("reset", "eof"):
            raise
        error = error_body(500, "it broke, as the script says", script.error_code)
        yield GARBAGE if broken.fail == "garbage" else frame(error)
        return
    yield _chunk(head, {}, _finish_reason(script))
    if (started.body.get("stream_options") or {}).get("include_usage"):
        yield frame({**head, "choices": [], "usage": _usage(script)})
    yield frame("[DONE]")


def _head(started: Started) -> Json:
    return {"id": f"chatcmpl-{started.call.number}", "created": 1_700_000_000, "model": started.body["model"]}


def _chunk(head: Json, delta: Json, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
    return frame({**head, "choices": [choice], "usage": None})


def _delta(step: Step, *, first: bool) -> Json:
    match step.kind:
        case "redacted" | "hidden":
            return {}
        case "text":
            return {"content": step.piece}
        case "reasoning":
            return {"reasoning_content": step.piece}
        case "refusal":
            return {"refusal": step.piece}
        case "tool":
            function = {"arguments": step.piece} | ({"name": "get_weather"} if first else {})
            call = {"index": 0, "function": function} | ({"id": "call_1", "type": "function"} if first else {})
            return {"tool_calls": [call]}


def _finish_reason(script: Script) -> str:
    return "tool_calls" if script.tool and script.finish == "stop" else script.finish


def _usage(script: Script) -> Json:
    words = script.words + script.reasoning
    return {
        "prompt_tokens": 7,
        "completion_tokens": words,
        "total_tokens": 7 + words,
        "completion_tokens_details": {"reasoning_tokens": script.reasoning},
    }
