"""Writes a prompt as the body of a chat completions request."""

from collections.abc import Iterator
from typing import Any

from midstream.log.entries import Json
from midstream_worker.sources import conversation
from midstream_worker.sources.conversation import Call, File, Image, Raw, Result, Turn, Words
from midstream_worker.sources.params import for_chat
from midstream_worker.sources.source import Prompt

# Ours to decide, whatever the request's params say.
_OURS = frozenset(("model", "input", "messages", "stream", "stream_options", "background", "store", "n"))
_PARTS = frozenset(("text", "image_url", "input_audio", "file", "refusal"))
_TAKEN = ("role", "name")
_TAKEN_OF_MODELS = (*_TAKEN, "audio", "function_call", "tool_calls")
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def body(prompt: Prompt, *, at_openai: bool) -> Json:
    """Return the request's JSON but for `stream`.

    Args:
        prompt: What to generate.
        at_openai: Whether it goes to OpenAI itself, whose newest names servers of others do not know.
    """
    given = {name: value for name, value in prompt.params.items() if name not in _OURS}
    params = conversation.only_allowed(for_chat(given))
    limits = [params.pop(name) for name in _LIMITS if name in params]
    if limits:
        params["max_completion_tokens" if at_openai else "max_tokens"] = limits[0]
    if isinstance(params.get("tools"), list):
        params["tools"] = [_tool(definition) for definition in params["tools"]]
    if "tool_choice" in params:
        params["tool_choice"] = _tool_choice(params["tool_choice"])
    if at_openai and prompt.params.get("store") is True:  # only what is stored there has metadata
        params |= {name: prompt.params[name] for name in ("store", "metadata") if name in prompt.params}
    messages = _joined(_messages(prompt.messages, _OF_ANTHROPIC if at_openai else _OF_ANSWERS))
    return {**params, "model": prompt.model, "messages": messages, "stream_options": {"include_usage": True}}


# What answers' own parts say, and what Anthropic's do; some servers pass marks for its cache on to it.
_OF_ANSWERS = frozenset(("annotations", "citations", "logprobs", "parsed"))
_OF_ANTHROPIC = _OF_ANSWERS | {"cache_control"}


def _messages(messages: list[Json], unsaid: frozenset[str]) -> Iterator[Json]:
    """Yield the messages. A result is text here: what it shows comes behind all results, which nothing may divide."""
    shown: list[Json] = []
    for message in messages:
        if _is_chat(message):
            yield from shown
            shown = []
            yield _own(message, unsaid)
            continue
        for turn in conversation.turns([message]):
            for part in turn.parts:
                if isinstance(part, Result):
                    words = [it.text for it in part.told.output if isinstance(it, Words)]
                    yield {"role": "tool", "tool_call_id": part.call_id, "content": "".join(words)}
                    shown += _shown(part)
            if written := list(_written(turn)):
                yield from shown
                shown = []
                yield from written
    yield from shown


def _joined(messages: Iterator[Json]) -> list[Json]:
    """Return messages with calls in a row, which Responses has as items of their own, in one: results follow it."""
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
    return isinstance(message.get("tool_calls"), list) or conversation.is_plain(message, _PARTS)


def _own(message: Json, unsaid: frozenset[str]) -> Json:
    """Return a message of this dialect without what other dialects and our answers say beside it."""
    own = conversation.only(message, _TAKEN_OF_MODELS if message["role"] == "assistant" else _TAKEN)
    if calls := own.pop("tool_calls", None):
        own["tool_calls"] = [_own_call(call) for call in calls]
    own["content"] = message.get("content") or message.get("refusal") or message.get("content")
    if isinstance(own["content"], list):
        own["content"] = [{name: it for name, it in part.items() if name not in unsaid} for part in own["content"]]
    return own


def _own_call(call: Any) -> Any:
    match call:
        case {"id": str(call_id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return _call(Call(call_id, name, arguments))
    return call


def _shown(result: Result) -> list[Json]:
    """Return a user's message with what a result holds beside text."""
    parts = [part for part in result.output if not isinstance(part, Words)]
    if not parts:
        return []
    lead: Json = {"type": "text", "text": f"Of the result of {result.call_id}:"}
    return [{"role": "user", "content": [lead, *(_part(part) for part in parts)]}]


def _written(turn: Turn) -> Iterator[Json]:
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
        case Image(url, detail):
            return {"type": "image_url", "image_url": {"url": url, "detail": detail} if detail else {"url": url}}
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
    described: Json = {"description": function.description} if function.description else {}
    if function.strict is not None:
        described["strict"] = function.strict
    return {"type": "function", "function": {"name": function.name, **described, "parameters": function.schema}}


def _tool_choice(choice: Any) -> Any:
    kind, name = conversation.tool_choice(choice)
    return {"type": "function", "function": {"name": name}} if kind == "named" else kind or choice
