"""Writes a prompt as the body of a chat completions request."""

from collections.abc import Iterator
from typing import Any

from midstream.log.entries import Json
from midstream.requests.turns import Call, File, Image, PlainText, Raw, Result, Turn, turns
from midstream_worker.sources.own_messages import is_plain, own_fields
from midstream_worker.sources.params import for_chat
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.tools import only_allowed, read_tool, read_tool_choice

# The worker sets these itself, whatever the request's params hold.
_SET_BY_US = frozenset(("model", "input", "messages", "stream", "stream_options", "background", "store", "n"))
_PARTS = frozenset(("text", "image_url", "input_audio", "file", "refusal"))
_FIELDS = ("role", "name")
_FIELDS_OF_ANSWERS = (*_FIELDS, "audio", "function_call", "tool_calls")
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def body(prompt: Prompt, *, at_openai: bool) -> Json:
    """Return the request's JSON, without `stream`.

    Args:
        prompt: What to generate.
        at_openai: Whether it goes to OpenAI itself; servers of others do not know its newest names.
    """
    params = only_allowed(for_chat({name: it for name, it in prompt.params.items() if name not in _SET_BY_US}))
    limits = [params.pop(name) for name in _LIMITS if name in params]
    if limits:
        params["max_completion_tokens" if at_openai else "max_tokens"] = limits[0]
    if isinstance(params.get("tools"), list):
        params["tools"] = [_tool(definition) for definition in params["tools"]]
    if "tool_choice" in params:
        params["tool_choice"] = _tool_choice(params["tool_choice"])
    if at_openai and prompt.params.get("store") is True:  # OpenAI takes metadata only with what it stores
        params |= {name: prompt.params[name] for name in ("store", "metadata") if name in prompt.params}
    messages = _joined(_messages(prompt.messages, _OF_ANTHROPIC if at_openai else _OF_ANSWERS))
    return {**params, "model": prompt.model, "messages": messages, "stream_options": {"include_usage": True}}


# The members that parts of answers have, and those of Anthropic's parts, which some servers pass on to it.
_OF_ANSWERS = frozenset(("annotations", "citations", "logprobs", "parsed"))
_OF_ANTHROPIC = _OF_ANSWERS | {"cache_control"}


def _messages(messages: list[Json], excluded: frozenset[str]) -> Iterator[Json]:
    """Yield the messages.

    A result is text in this dialect: its images and files follow in a message of their own, after all results in a
    row, because no other message may come between these.
    """
    attachments: list[Json] = []
    for message in messages:
        if _is_chat(message):
            yield from attachments
            attachments = []
            yield _own(message, excluded)
            continue
        for turn in turns([message]):
            for part in turn.parts:
                if isinstance(part, Result):
                    texts = [it.text for it in part.with_error_as_text.output if isinstance(it, PlainText)]
                    yield {"role": "tool", "tool_call_id": part.call_id, "content": "".join(texts)}
                    attachments += _attachments(part)
            if written := list(_written(turn)):
                yield from attachments
                attachments = []
                yield from written
    yield from attachments


def _joined(messages: Iterator[Json]) -> list[Json]:
    """Return messages with calls in a row joined to one message, which their results have to follow.

    In Responses, each call is an item of its own.
    """
    joined: list[Json] = []
    for message in messages:
        last = joined[-1] if joined else {}
        if message.get("tool_calls") and last.get("tool_calls") and not message.get("content"):
            joined[-1] = {**last, "tool_calls": [*last["tool_calls"], *message["tool_calls"]]}
        else:
            joined.append(message)
    return joined


def _is_chat(message: Json) -> bool:
    if message.get("role") in (None, "tool"):
        return False
    return isinstance(message.get("tool_calls"), list) or is_plain(message, _PARTS)


def _own(message: Json, excluded: frozenset[str]) -> Json:
    """Return a message of this dialect without the fields of other dialects and of our answers."""
    own = own_fields(message, _FIELDS_OF_ANSWERS if message["role"] == "assistant" else _FIELDS)
    if calls := own.pop("tool_calls", None):
        own["tool_calls"] = [_own_call(call) for call in calls]
    own["content"] = message.get("content") or message.get("refusal") or message.get("content")
    if isinstance(own["content"], list):
        own["content"] = [{name: it for name, it in part.items() if name not in excluded} for part in own["content"]]
    return own


def _own_call(call: Any) -> Any:
    match call:
        case {"id": str(call_id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return _call(Call(call_id, name, arguments))
    return call


def _attachments(result: Result) -> list[Json]:
    """Return a user's message with the images and files of a result, if it has any."""
    parts = [part for part in result.output if not isinstance(part, PlainText)]
    if not parts:
        return []
    lead: Json = {"type": "text", "text": f"Of the result of {result.call_id}:"}
    return [{"role": "user", "content": [lead, *(_part(part) for part in parts)]}]


def _written(turn: Turn) -> Iterator[Json]:
    content_parts = [part for part in turn.parts if isinstance(part, (PlainText, Image, File, Raw))]
    calls = [part for part in turn.parts if isinstance(part, Call)]
    if not turn.role:  # an item without a role: the provider judges it
        yield from (part.part for part in content_parts if isinstance(part, Raw))
    elif calls:
        yield {"role": turn.role, "content": _content(content_parts) or None, "tool_calls": [_call(it) for it in calls]}
    elif content_parts:
        yield {"role": turn.role, "content": _content(content_parts)}


def _content(content_parts: list[PlainText | Image | File | Raw]) -> str | list[Json]:
    if all(isinstance(part, PlainText) for part in content_parts):
        return "".join(part.text for part in content_parts if isinstance(part, PlainText))
    return [_part(part) for part in content_parts]


def _part(part: PlainText | Image | File | Raw) -> Json:
    match part:
        case PlainText(text):
            return {"type": "text", "text": text}
        case Image(url, detail):
            return {"type": "image_url", "image_url": {"url": url, "detail": detail} if detail else {"url": url}}
        case File(name, url):
            return {"type": "file", "file": {"filename": name, "file_data": url}}
        case Raw(raw):
            return raw


def _call(call: Call) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tool(definition: Json) -> Json:
    function = read_tool(definition)
    if function is None or "function" in definition:
        return definition
    described: Json = {"description": function.description} if function.description else {}
    if function.strict is not None:
        described["strict"] = function.strict
    return {"type": "function", "function": {"name": function.name, **described, "parameters": function.schema}}


def _tool_choice(choice: Any) -> Any:
    kind, name = read_tool_choice(choice)
    return {"type": "function", "function": {"name": name}} if kind == "named" else kind or choice
