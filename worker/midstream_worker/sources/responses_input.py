"""Writes a prompt as the body of an OpenAI Responses request."""

from collections.abc import Iterator
from typing import Any

from midstream.log.entries import Json
from midstream_worker.sources import conversation
from midstream_worker.sources.conversation import Call, File, Image, Part, Raw, Result, Turn, Words
from midstream_worker.sources.params import for_responses
from midstream_worker.sources.source import Prompt

# Ours to decide, whatever the request's params say.
_OURS = frozenset(("model", "input", "messages", "stream", "stream_options", "background", "n"))
_PARTS = frozenset(("input_text", "output_text", "refusal", "input_image", "input_file"))

_TAKEN = ("role", "content")
_TAKEN_OF_MODELS = (*_TAKEN, "phase")


def body(prompt: Prompt, *, background: bool) -> Json:
    """Return the request's JSON but for `stream`."""
    given = {name: value for name, value in prompt.params.items() if name not in _OURS}
    params = for_responses(given)
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
    if message["role"] != "tool" and message.get("content") and conversation.is_plain(message, _PARTS):
        yield conversation.only(message, _TAKEN_OF_MODELS if message["role"] == "assistant" else _TAKEN)
        return
    for turn in conversation.turns([message]):
        spoken = [part for part in turn.parts if isinstance(part, (Words, Image, File, Raw))]
        if spoken:
            yield {"role": turn.role, "content": _content(turn, spoken)}
        for part in turn.parts:
            if isinstance(part, Call):
                yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
            elif isinstance(part, Result):
                yield {"type": "function_call_output", "call_id": part.call_id, "output": _output(part.told)}


def _output(result: Result) -> str | list[Json]:
    text = result.text
    return [_part(part, "user") for part in result.output] if text is None else text


def _content(turn: Turn, spoken: list[Words | Image | File | Raw]) -> str | list[Json]:
    if all(isinstance(part, Words) for part in spoken):
        return "".join(part.text for part in spoken if isinstance(part, Words))
    return [_part(part, turn.role) for part in spoken]


def _part(part: Part, role: str) -> Json:
    match part:
        case Words(text):
            return {"type": "output_text" if role == "assistant" else "input_text", "text": text}
        case Image(url, detail):
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
        case File(name, url):
            return {"type": "input_file", "filename": name, "file_data": url}
        case Raw(raw):
            return raw
    raise AssertionError(part)


def _tool(definition: Json) -> Json:
    function = conversation.tool(definition)
    if function is None or ("name" in definition and "input_schema" not in definition):
        return definition
    return {
        "type": "function",
        "name": function.name,
        "description": function.description,
        "parameters": function.schema,
        "strict": function.strict or False,  # which is what the other dialects mean by saying nothing
    }


def _tool_choice(choice: Any) -> Any:
    if (found := conversation.allowed_tools(choice)) is not None:
        mode, tools = found
        return {"type": "allowed_tools", "mode": mode, "tools": [_allowed(named) for named in tools]}
    kind, name = conversation.tool_choice(choice)
    return {"type": "function", "name": name} if kind == "named" else kind or choice


def _allowed(named: Any) -> Any:
    match named:
        case {"type": "function", "function": {"name": name}}:
            return {"type": "function", "name": name}
    return named
