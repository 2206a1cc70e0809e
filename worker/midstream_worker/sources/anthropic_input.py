"""Writes a prompt as the body of an Anthropic messages request."""

from typing import Any

import orjson

from midstream.log.entries import Json
from midstream.requests.turns import Call, File, Image, Part, PlainText, Raw, Result, Thought, turns
from midstream_worker.sources.own_messages import is_plain, own_fields
from midstream_worker.sources.params import for_anthropic
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.tools import only_allowed, read_tool, read_tool_choice

DEFAULT_MAX_TOKENS = 8_192  # Anthropic has no default of its own; every current model allows this

# The worker sets these itself, whatever the request's params hold.
_SET_BY_US = frozenset(
    ("model", "input", "messages", "stream", "stream_options", "background", "store", "n", "system", "betas")
)
_PARTS = frozenset(
    (
        *("text", "image", "document", "search_result", "tool_use", "tool_result", "thinking", "redacted_thinking"),
        *("server_tool_use", "web_search_tool_result", "container_upload"),
    )
)
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def body(prompt: Prompt) -> Json:
    """Return the request's JSON, without `stream`."""
    params = only_allowed(for_anthropic({name: it for name, it in prompt.params.items() if name not in _SET_BY_US}))
    for alias in ("max_output_tokens", "max_completion_tokens"):
        if alias in params:
            params.setdefault("max_tokens", params.pop(alias))
    params.setdefault("max_tokens", DEFAULT_MAX_TOKENS)
    if isinstance(params.get("tools"), list):
        params["tools"] = [_tool(definition) for definition in params["tools"]]
    one_at_a_time = params.pop("parallel_tool_calls", True) is False and params.get("tools")
    if "tool_choice" in params:
        params["tool_choice"] = _tool_choice(params["tool_choice"])
    choice = params.get("tool_choice") or {"type": "auto"}
    if one_at_a_time and isinstance(choice, dict) and choice != {"type": "none"}:
        params["tool_choice"] = {**choice, "disable_parallel_tool_use": True}
    if system := _system(prompt):
        params["system"] = system
    return {**params, "model": prompt.model, "messages": _messages(prompt.messages)}


def headers(prompt: Prompt) -> dict[str, str]:
    """Return the request's headers: one of them names Anthropic's beta features."""
    betas = prompt.params.get("betas")
    named = [beta for beta in betas if isinstance(beta, str)] if isinstance(betas, list) else []
    return {"anthropic-beta": ",".join(named)} if named else {}


def _system(prompt: Prompt) -> Any:
    """Return the `system` param joined with all system messages: Anthropic accepts none among the messages."""
    system = prompt.params.get("system")
    texts = [
        part.text
        for turn in turns(prompt.messages)
        if turn.role == "system"
        for part in turn.parts
        if isinstance(part, PlainText)
    ]
    if isinstance(system, list):  # its blocks may carry cache marks
        return [*system, *({"type": "text", "text": text} for text in texts)]
    if system and not isinstance(system, str):
        return system  # the provider judges it
    return "\n\n".join(filter(None, [system, *texts]))


def _messages(messages: list[Json]) -> list[Json]:
    written: list[Json] = []
    for message in messages:
        role = message.get("role")
        may_be_sent = message.get("content") or role == "user"  # Anthropic accepts no empty answer
        if role in ("user", "assistant") and may_be_sent and is_plain(message, _PARTS):
            written.append(own_fields(message, ("role", "content")))
            continue
        for turn in turns([message]):
            if turn.role == "system" or not turn.parts:
                continue
            blocks = [_block(part) for part in turn.parts]
            last = written[-1] if written else {}
            # Anthropic wants the results of parallel calls in one message.
            if last.get("role") == turn.role and isinstance(last["content"], list):
                written[-1] = {**last, "content": [*last["content"], *blocks]}
            else:
                written.append({"role": turn.role or "user", "content": blocks})
    return written


def _block(part: Part) -> Json:
    match part:
        case PlainText(text):
            return {"type": "text", "text": text}
        case Image(url=url):
            return {"type": "image", "source": _source(url)}
        case File(name, url):
            return {"type": "document", "title": name, "source": _source(url)}
        case Call(call_id, name, arguments):
            return {"type": "tool_use", "id": call_id, "name": name, "input": _arguments(arguments)}
        case Result(call_id, output, is_error):
            content = [_block(inner) for inner in output] if part.text is None else part.text
            marked = {"is_error": True} if is_error else {}
            return {"type": "tool_result", "tool_use_id": call_id, "content": content, **marked}
        case Thought(raw) | Raw(raw):
            return raw


def _arguments(text: str) -> Any:
    try:
        return orjson.loads(text or "{}")
    except orjson.JSONDecodeError:  # a call that the model cut off
        return {"text": text}


def _source(url: str) -> Json:
    media_type, separator, data = url.removeprefix("data:").partition(";base64,")
    if url.startswith("data:") and separator:
        return {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "url", "url": url}


def _tool(definition: Json) -> Json:
    function = read_tool(definition)
    if function is None or "input_schema" in definition:
        return definition
    described: Json = {"description": function.description} if function.description else {}
    if function.strict:
        described["strict"] = True
    return {"name": function.name, **described, "input_schema": function.schema}


def _tool_choice(choice: Any) -> Any:
    kind, name = read_tool_choice(choice)
    if isinstance(choice, dict) and choice.get("type") in ("auto", "any", "tool", "none"):
        return choice
    if kind == "named":
        return {"type": "tool", "name": name}
    return {"type": _CHOICES[kind]} if kind else choice
