"""Writes a prompt as the body of a chat completions request."""

from collections.abc import Iterator
from typing import Any

from midstream_worker.sources import conversation
from midstream_worker.sources.conversation import Call, File, Image, Json, Raw, Result, Words
from midstream_worker.sources.params import for_chat
from midstream_worker.sources.source import Prompt

# Ours to decide, whatever the request's params say.
_OURS = frozenset(("model", "input", "messages", "stream", "stream_options", "background", "store", "n"))
_PARTS = frozenset(("text", "image_url", "input_audio", "file", "refusal"))


def body(prompt: Prompt) -> Json:
    """Return the request's JSON but for `stream`."""
    given = {name: value for name, value in prompt.params.items() if name not in _OURS}
    params = conversation.only_allowed(for_chat(given))
    if "max_output_tokens" in params:
        params.setdefault("max_tokens", params.pop("max_output_tokens"))
    if isinstance(params.get("tools"), list):
        params["tools"] = [_tool(definition) for definition in params["tools"]]
    if "tool_choice" in params:
        params["tool_choice"] = _tool_choice(params["tool_choice"])
    messages = [written for message in prompt.messages for written in _messages(message)]
    return {**params, "model": prompt.model, "messages": messages, "stream_options": {"include_usage": True}}


def _messages(message: Json) -> Iterator[Json]:
    chat_calls = message.get("role") == "tool" or "tool_calls" in message
    if chat_calls or ("role" in message and conversation.is_plain(message, _PARTS)):
        yield message
        return
    for turn in conversation.turns([message]):
        for part in turn.parts:
            if isinstance(part, Result):
                yield {"role": "tool", "tool_call_id": part.call_id, "content": part.output}
        spoken = [part for part in turn.parts if isinstance(part, (Words, Image, File, Raw))]
        calls = [part for part in turn.parts if isinstance(part, Call)]
        if not turn.role:  # an item without a role: the provider judges it
            yield from (part.part for part in spoken if isinstance(part, Raw))
        elif calls:
            yield {"role": turn.role, "content": _content(spoken) or None, "tool_calls": [_call(it) for it in calls]}
        elif spoken:
            yield {"role": turn.role, "content": _content(spoken)}


def _content(spoken: list[Words | Image | File | Raw]) -> str | list[Json]:
    if all(isinstance(part, Words) for part in spoken):
        return "".join(part.text for part in spoken if isinstance(part, Words))
    return [_part(part) for part in spoken]


def _part(part: Words | Image | File | Raw) -> Json:
    match part:
        case Words(text):
            return {"type": "text", "text": text}
        case Image(url):
            return {"type": "image_url", "image_url": {"url": url}}
        case File(name, url):
            return {"type": "file", "file": {"filename": name, "file_data": url}}
        case Raw(raw):
            return raw


def _call(call: Call) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tool(definition: Json) -> Json:
    function = conversation.tool(definition)
    if function is None or "function" in definition:
        return definition
    described = {"description": function.description} if function.description else {}
    return {"type": "function", "function": {"name": function.name, **described, "parameters": function.schema}}


def _tool_choice(choice: Any) -> Any:
    kind, name = conversation.tool_choice(choice)
    return {"type": "function", "function": {"name": name}} if kind == "named" else kind or choice
