"""A provider that means harm: a real server on loopback; the name of the model says what it does.

Its process prints its URL. `GET /followed` tells how many requests have come by its redirect.
"""

import asyncio
import json
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from typing import Any, Final

MIB: Final = 1_048_576

INJECTION: Final = (
    'a\n\ndata: {"type":"end"}\n\nevent: end\rid: 99\r\n\u2028\x00\x1b]0;pwned\x07\x9b31m<script>alert(1)</script>'
)
"""What breaks frames, terminals and pages, where somebody passes it on as it is."""


def chunk(delta: Any = None, finish: Any = None, **further: Any) -> Any:
    """Return a chunk of a chat completion."""
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **further}


def _call(**fields: Any) -> Any:
    return chunk({"tool_calls": [fields]})


def _counted(prompt: Any, completion: Any, **further: Any) -> list[Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 1, **further}
    return [chunk({"content": "hi"}), chunk(finish="stop", usage=usage)]


def _message(*events: Any, usage: Any = None) -> list[Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": usage}
    return [{"type": "message_start", "message": message}, *events, {"type": "message_stop"}]


def _response(*events: Any, usage: Any = None, response_id: Any = "resp_1") -> list[Any]:
    response = {"id": response_id, "status": "completed", "output": [], "usage": usage}
    every = [{"type": "response.created", "response": response}, *events,
             {"type": "response.completed", "response": response}]  # fmt: skip
    return [event if isinstance(event, bytes) else {"sequence_number": at, **event} for at, event in enumerate(every)]


_STOP: Final = chunk(finish="stop")

CHAT: Final[dict[str, list[Any]]] = {
    "usage_huge": _counted(10**30, 1),
    "usage_text": _counted("many", [1]),
    "usage_negative": _counted(-5, [True]),
    "usage_details": _counted(1, 1, prompt_tokens_details="x", completion_tokens_details={"reasoning_tokens": "y"}),
    "usage_nan": [b'{"id":"c","choices":[],"usage":{"prompt_tokens":NaN,"completion_tokens":1e999}}', _STOP],
    "usage_list": [chunk(finish="stop", usage=[1])],
    "content_int": [chunk({"content": 5}), _STOP],
    "content_object": [chunk({"content": {"a": 1}}), _STOP],
    "choices_object": [{"id": "c", "choices": {"a": 1}}, _STOP],
    "choices_null": [{"id": "c", "choices": None}, chunk({"content": "x"}), _STOP],
    "choices_of_null": [{"id": "c", "choices": [None, 5]}, _STOP],
    "number": [b"5", _STOP],
    "list": [b"[]", _STOP],
    "delta_list": [chunk([1]), _STOP],
    "call_index": [_call(index="a", id="1", function={"name": "f", "arguments": "{}"}), chunk(finish="tool_calls")],
    "call_types": [_call(index=1, id={"x": 1}, function={"name": ["f"], "arguments": "{}"}), _STOP],
    "call_arguments": [_call(index=0, id="1", function={"name": "f", "arguments": {"a": 1}}), _STOP],
    "call_null": [_call(index=None, id=None, function=None), chunk({"tool_calls": [None]}), _STOP],
    "call_injection": [
        _call(index=0, id="id\n\ndata: x", function={"name": INJECTION, "arguments": INJECTION}), _STOP
    ],
    "call_surrogate": [_call(index=0, id="\ud800", function={"name": "\udc00", "arguments": "\ud83d"}), _STOP],
    "finish_object": [chunk({"content": "x"}), chunk(finish={"a": 1})],
    "id_object": [{**chunk({"content": "x"}), "id": {"a": ["\ud800"]}}, _STOP],
    "surrogates": [chunk({"content": "\ud800"}), chunk({"content": "\udc00 x \ud83d"}), _STOP],
    "refusal_surrogate": [chunk({"refusal": "\ud800"}), _STOP],
    "injection": [
        chunk({"reasoning_content": INJECTION}), chunk({"content": INJECTION}), chunk({"refusal": INJECTION}), _STOP
    ],
    "deep": [b'{"id":"c","choices":[{"delta":{"content":"x","z":' + b"[" * 100_000 + b"]" * 100_000 + b"}}]}", _STOP],
    "digits": [b'{"id":"c","n":' + b"9" * 100_000 + b"}", _STOP],
    "wide": [b'{"id":"c","choices":[' + b",".join([b"{}"] * 600_000) + b"]}", _STOP],
    "no_utf8": [b'{"id":"\xff\xfe"}', _STOP],
    "error": [{"error": {"message": f"boom {INJECTION}", "type": ["x"], "code": {"a": 1}}}],
    "error_text": [{"error": INJECTION}],
}  # fmt: skip
MESSAGES: Final[dict[str, list[Any]]] = {
    "usage_text": _message(usage={"input_tokens": "many", "output_tokens": [1], "cache_read_input_tokens": "x"}),
    "usage_list": _message(usage=[1]),
    "id_object": [{"type": "message_start", "message": {"id": {"a": 1}}}],
    "no_message": [{"type": "message_start"}],
    "delta_of_no_block": _message({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}),
    "text_int": _message({"type": "content_block_delta", "delta": {"type": "text_delta", "text": 5}}),
    "tool_types": _message(
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": 5, "name": None}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "content_block_stop"},
    ),
    "redacted_object": _message(
        {"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": {"a": 1}}},
        {"type": "content_block_stop"},
    ),
    "block_int": _message({"type": "content_block_start", "content_block": 5}, {"type": "content_block_stop"}),
    "stop_object": _message({"type": "message_delta", "delta": {"stop_reason": {"a": 1}}}),
    "type_object": _message({"type": {"a": 1}}),
}
RESPONSES: Final[dict[str, list[Any]]] = {
    "usage_text": _response(usage={"input_tokens": "many", "output_tokens": None, "input_tokens_details": 5}),
    "usage_int": _response(usage=5),
    "id_object": _response(response_id={"a": 1}),
    "id_path": _response(response_id="../../v1/files"),
    "no_position": [b'{"type":"response.created","response":{"id":"r"}}'],
    "position_text": [b'{"type":"response.created","sequence_number":"x","response":{"id":"r"}}'],
    "delta_object": _response({"type": "response.output_text.delta", "delta": {"a": 1}}),
    "arguments_of_no_call": _response(
        {"type": "response.function_call_arguments.delta", "item_id": "x", "delta": "{}"}
    ),
    "call_types": _response(
        {"type": "response.output_item.added", "item": {"type": "function_call", "id": 1, "call_id": []}}
    ),
    "arguments_object": _response(
        {"type": "response.output_item.done",
         "item": {"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": {"a": 1}}}
    ),
    "cipher_object": _response(
        {"type": "response.output_item.done", "item": {"type": "reasoning", "encrypted_content": {"a": 1}}}
    ),
    "annotation_int": _response({"type": "response.output_text.annotation.added", "annotation": 5}),
    "item_null": _response({"type": "response.output_item.added", "item": None}),
    "error_object": _response({"type": "error", "code": {"a": 1}, "message": {"b": INJECTION}}),
    "failed_int": _response({"type": "response.failed", "response": {"error": 5}}),
}  # fmt: skip
_PAGES: Final = {"/v1/chat/completions": CHAT, "/v1/messages": MESSAGES, "/v1/responses": RESPONSES}


def _event(data: Any) -> bytes:
    kind = data.get("type") if isinstance(data, dict) else None
    named = f"event: {kind}\n".encode() if isinstance(kind, str) else b""
    return named + b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


class _Answer:
    """Writes one answer."""

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer

    async def head(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Type: {kind}", "Connection: close", *lines])
        await self.send(f"{head}\r\n\r\n".encode())

    async def send(self, data: bytes, times: int = 1) -> None:
        for _ in range(times):
            self._writer.write(data)
            await self._writer.drain()


async def _big_line(answer: _Answer) -> None:
    await answer.head()
    await answer.send(_event(chunk({"content": "x"})) + b"data: ")
    await answer.send(b"a" * 100_000, times=3_000)


async def _many_lines(answer: _Answer) -> None:
    """One event of many lines: no line of it is long."""
    await answer.head()
    await answer.send(b"data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" * 1_000, times=5_000)


async def _gzip_bomb(answer: _Answer) -> None:
    await answer.head(Content_Encoding="gzip")
    squeezed = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(300):
        await answer.send(squeezed.compress(b"a" * MIB))


async def _refusals(answer: _Answer) -> None:
    await answer.head()
    await answer.send(_event(chunk({"refusal": "r" * 50_000})), times=6_000)


async def _many_calls(answer: _Answer) -> None:
    await answer.head()
    for at in range(400_000):
        await answer.send(_event(_call(index=at, id=str(at), function={"name": "f", "arguments": ""})))


async def _signatures(answer: _Answer) -> None:
    await answer.head()
    signature = {"type": "signature_delta", "signature": "s" * 50_000}
    await answer.send(_event({"type": "content_block_delta", "delta": signature}), times=6_000)


async def _comments(answer: _Answer) -> None:
    await answer.head()
    # A million of them are an answer's bytes. Kept as strings, they would outgrow what the test allows a worker.
    await answer.send(b": nothing to be said, but alive\n\n" * 10_000, times=4_000)


async def _big_error(answer: _Answer) -> None:
    await answer.head(400, "application/json")
    await answer.send(json.dumps({"error": {"message": "m" * 50_000_000, "type": "x"}}).encode())


async def _error(answer: _Answer) -> None:
    await answer.head(400, "application/json", Retry_After="1e308")
    await answer.send(json.dumps({"error": {"message": f"Bad {INJECTION}", "type": "x"}}).encode())


async def _redirect(answer: _Answer) -> None:
    await answer.head(307, "application/json", Location="/followed")


HARM: Final[dict[str, Callable[[_Answer], Awaitable[None]]]] = {
    "big_line": _big_line,
    "many_lines": _many_lines,
    "gzip_bomb": _gzip_bomb,
    "refusals": _refusals,
    "many_calls": _many_calls,
    "signatures": _signatures,
    "comments": _comments,
    "big_error": _big_error,
    "error": _error,
    "redirect": _redirect,
}
"""What it does that is more than a few events of wrong types."""


class _Server:
    def __init__(self) -> None:
        self._followed = 0

    async def handle(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            path = head.split(" ")[1]
            answer = _Answer(writer)
            if path == "/followed" and head.startswith("get"):
                await answer.head(kind="text/plain")
                await answer.send(str(self._followed).encode())
                return
            self._followed += path == "/followed"
            length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
            body = json.loads(await reader.readexactly(length)) if length else {}
            encodings = [line for line in head.split("\r\n") if line.startswith("accept-encoding:")]
            if encodings != ["accept-encoding: identity"]:
                await answer.head(406)
            elif harm := HARM.get(body.get("model", "")):
                await harm(answer)
            else:
                await answer.head()
                for event in _PAGES.get(path, {}).get(body.get("model", ""), [chunk({"content": "hello"}), _STOP]):
                    await answer.send(_event(event))
                await answer.send(b"data: [DONE]\n\n")
        except (OSError, asyncio.IncompleteReadError):
            pass  # it was left, as it should be
        finally:
            writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_Server().handle, "127.0.0.1", 0, limit=64 * MIB)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201
    await server.serve_forever()


def main() -> None:
    """Serve until killed; the first line on stdout is the URL."""
    asyncio.run(_main())
