"""The input of a response as items of OpenAI's shape, in whichever dialect its messages were written."""

from collections.abc import Iterator
from typing import Any

import orjson

from midstream.log.entries import Json


def input_items(stream_id: str, messages: list[Json]) -> list[Json]:
    """Return messages and items as they are listed."""
    items = [item for message in messages for item in as_items(message)]
    return [{"id": f"in_{stream_id}_{number}", "status": "completed", **item} for number, item in enumerate(items)]


def as_items(message: Json) -> Iterator[Json]:
    """Yield the items that a message of any dialect holds; an item is yielded as it is."""
    if "role" not in message:
        yield message
        return
    role, content = message["role"], message.get("content")
    if role == "tool":
        yield _output(message.get("tool_call_id"), content)
        return
    parts = content if isinstance(content, list) else [] if content is None else [content]
    calls = [
        call for part in (*parts, *(message.get("tool_calls") or ())) if (call := _call_or_result(part)) is not None
    ]
    content_parts = [_part(part, role) for part in parts if not _is_apart(part)]
    if role == "user":  # the results of calls come before the words about them; calls come after the words
        yield from calls
    if content_parts or not calls:
        yield {"type": "message", "role": role, "content": content_parts}
    if role != "user":
        yield from calls


def _is_apart(part: Any) -> bool:
    """Tell whether a part of a message is no part of its content here: a call, a result, thinking."""
    return isinstance(part, dict) and part.get("type") in ("tool_use", "tool_result", "thinking", "redacted_thinking")


def _call_or_result(part: Any) -> Json | None:
    match part:
        case {"type": "tool_use", "id": call_id, "name": name}:
            return _call(call_id, name, orjson.dumps(part.get("input")).decode())
        case {"id": call_id, "function": {"name": name, "arguments": arguments}}:
            return _call(call_id, name, arguments)
        case {"type": "tool_result", "tool_use_id": call_id}:
            return _output(call_id, part.get("content"))
    return None


def _part(part: Any, role: str) -> Json:
    match part:
        case str(text) | {"type": "text" | "input_text" | "output_text", "text": str(text)}:
            if role == "assistant":
                return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
            return {"type": "input_text", "text": text}
        case {"type": "image_url", "image_url": {"url": url} as image}:
            return {"type": "input_image", "image_url": url, "detail": image.get("detail") or "auto"}
        case {"type": "image", "source": {"url": url}}:
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        case {"type": "image", "source": {"media_type": media_type, "data": data}}:
            return {"type": "input_image", "image_url": f"data:{media_type};base64,{data}", "detail": "auto"}
        case {"type": "file", "file": {"file_data": data} as file}:
            return {"type": "input_file", "filename": str(file.get("filename") or "file"), "file_data": data}
        case {"type": "document", "source": {"media_type": media_type, "data": data}}:
            url = f"data:{media_type};base64,{data}"
            return {"type": "input_file", "filename": str(part.get("title") or "file"), "file_data": url}
        case {"type": "input_image"}:
            return {"detail": "auto", **part}
        case {"type": str(kind)} if kind.startswith(("input_", "refusal")):
            return dict(part)
    return {"type": "input_text", "text": orjson.dumps(part).decode()}


def _call(call_id: Any, name: Any, arguments: Any) -> Json:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def _output(call_id: Any, content: Any) -> Json:
    if isinstance(content, list):
        output: Any = [_part(part, "user") for part in content]
    else:
        output = content if isinstance(content, str) else orjson.dumps(content).decode()
    return {"type": "function_call_output", "call_id": call_id, "output": output}
