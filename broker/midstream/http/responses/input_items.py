"""What a response was made from, as items of OpenAI's shape, whatever dialect the request was in."""

from collections.abc import Iterator
from typing import Any

import orjson

from midstream.log.entries import Json
from midstream.requests.turns import Call, File, Image, Part, PlainText, Raw, Result, read_turn


def input_items(stream_id: str, messages: list[Json]) -> list[Json]:
    """Return messages and items as they are listed."""
    items = [item for message in messages for item in as_items(message)]
    return [{"id": f"in_{stream_id}_{number}", "status": "completed", **item} for number, item in enumerate(items)]


def as_items(message: Json) -> Iterator[Json]:
    """Yield the items of a message of any dialect; an item is yielded as it is.

    The source that asks OpenAI writes the same dialect, but not the same items: it sends what a model needs, and leaves
    out the fields that clients require of a listed item.
    """
    if "role" not in message:
        yield message
        return
    role, parts = message["role"], read_turn(message).parts
    content = [_content(part, role) for part in parts if isinstance(part, PlainText | Image | File | Raw)]
    calls = [_item(part) for part in parts if isinstance(part, Call | Result)]
    if role == "user":  # results come before the user's comments on them, calls come after the model's
        yield from calls
    if content or not calls:
        yield {"type": "message", "role": role, "content": content}
    if role != "user":
        yield from calls


def _item(part: Call | Result) -> Json:
    match part:
        case Call(call_id, name, arguments):
            return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
        case Result(call_id, output):
            text = part.text
            listed: Any = [_content(inner, "user") for inner in output] if text is None else text
            return {"type": "function_call_output", "call_id": call_id, "output": listed}


def _content(part: Part, role: str) -> Json:
    match part:
        case PlainText(text, is_refusal=True):
            return {"type": "refusal", "refusal": text}
        case PlainText(text) if role == "assistant":
            return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        case PlainText(text):
            return {"type": "input_text", "text": text}
        case Image(url, detail):
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
        case File(name, url):
            return {"type": "input_file", "filename": name, "file_data": url}
        case Raw({"type": "input_image"} as image):
            return {"detail": "auto", **image}
        case Raw({"type": str(kind)} as own) if kind.startswith("input_"):
            return own
        case Raw(other):
            return {"type": "input_text", "text": orjson.dumps(other).decode()}
    raise AssertionError(part)
