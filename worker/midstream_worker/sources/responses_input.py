"""Writes a prompt as the body of an OpenAI Responses request."""

from collections.abc import Iterator
from typing import Any

from midstream.log.entries import Json
from midstream.requests.turns import Call, File, Image, Part, PlainText, Raw, Result, Turn, turns
from midstream_worker.sources.own_messages import is_plain, own_fields
from midstream_worker.sources.params import for_responses
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.tools import read_allowed_tools, read_tool, read_tool_choice

# The worker sets these itself, whatever the request's params hold.
_SET_BY_US = frozenset(("model", "input", "messages", "stream", "stream_options", "background", "n"))
_PARTS = frozenset(("input_text", "output_text", "refusal", "input_image", "input_file"))

_FIELDS = ("role", "content")
_FIELDS_OF_ANSWERS = (*_FIELDS, "phase")


def body(prompt: Prompt, *, background: bool) -> Json:
    """Return the request's JSON, without `stream`."""
    params = for_responses({name: it for name, it in prompt.params.items() if name not in _SET_BY_US})
    for alias in ("max_completion_tokens", "max_tokens"):
        if alias in params:
            params.setdefault("max_output_tokens", params.pop(alias))
    if isinstance(params.get("tools"), list):
        params["tools"] = [_tool(definition) for definition in params["tools"]]
    if "tool_choice" in params:
        params["tool_choice"] = _tool_choice(params["tool_choice"])
    if background:  # it can be read again only if it is stored
        params |= {"background": True, "store": True}
    items = [item for message in prompt.messages for item in _items(message)]
    return {**params, "model": prompt.model, "input": items}


def _items(message: Json) -> Iterator[Json]:
    if "role" not in message:
        yield message
        return
    if message["role"] != "tool" and message.get("content") and is_plain(message, _PARTS):
        yield own_fields(message, _FIELDS_OF_ANSWERS if message["role"] == "assistant" else _FIELDS)
        return
    for turn in turns([message]):
        content_parts = [part for part in turn.parts if isinstance(part, (PlainText, Image, File, Raw))]
        if content_parts:
            yield {"role": turn.role, "content": _content(turn, content_parts)}
        for part in turn.parts:
            if isinstance(part, Call):
                yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
            elif isinstance(part, Result):
                yield {
                    "type": "function_call_output",
                    "call_id": part.call_id,
                    "output": _output(part),
                }


def _output(result: Result) -> str | list[Json]:
    marked = result.with_error_as_text
    return [_part(part, "user") for part in marked.output] if marked.text is None else marked.text


def _content(turn: Turn, content_parts: list[PlainText | Image | File | Raw]) -> str | list[Json]:
    if all(isinstance(part, PlainText) for part in content_parts):
        return "".join(part.text for part in content_parts if isinstance(part, PlainText))
    return [_part(part, turn.role) for part in content_parts]


def _part(part: Part, role: str) -> Json:
    match part:
        case PlainText(text):
            return {"type": "output_text" if role == "assistant" else "input_text", "text": text}
        case Image(url, detail):
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
        case File(name, url):
            return {"type": "input_file", "filename": name, "file_data": url}
        case Raw(raw):
            return raw
    raise AssertionError(part)


def _tool(definition: Json) -> Json:
    function = read_tool(definition)
    if function is None or ("name" in definition and "input_schema" not in definition):
        return definition
    return {
        "type": "function",
        "name": function.name,
        "description": function.description,
        "parameters": function.schema,
        "strict": function.strict or False,  # the default of the other dialects
    }


def _tool_choice(choice: Any) -> Any:
    if (allowed := read_allowed_tools(choice)) is not None:
        mode, tools = allowed
        return {"type": "allowed_tools", "mode": mode, "tools": [_allowed(named) for named in tools]}
    kind, name = read_tool_choice(choice)
    return {"type": "function", "name": name} if kind == "named" else kind or choice


def _allowed(named: Any) -> Any:
    match named:
        case {"type": "function", "function": {"name": name}}:
            return {"type": "function", "name": name}
    return named
