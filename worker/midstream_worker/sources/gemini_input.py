"""Writes a prompt as the body of a Gemini interaction."""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from midstream.log.entries import Json
from midstream.requests.turns import Call, File, Image, Part, PlainText, Raw, Result, Thought, Turn, turns
from midstream_worker.sources.params import for_responses
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.tools import read_allowed_tools, read_tool, read_tool_choice

# The worker sets these itself, whatever the request's params hold. An agent, a webhook and a token of continuation are
# other kinds of calls.
_SET_BY_US: Final = frozenset(
    (
        *("model", "input", "messages", "stream", "stream_options", "background", "n", "system"),
        *("agent", "agent_config", "environment", "webhook_config", "continuation_token"),
    )
)
# These ease OpenAI's work or ask for more in a response of its shape, or are notes for which Gemini has no field.
_WITHOUT_COUNTERPART: Final = frozenset(
    (
        *("include", "truncation", "max_tool_calls", "metadata", "user"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    )
)
_IN_CONFIG: Final = ("temperature", "top_p", "seed", "max_output_tokens", "stop_sequences")
_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any"}
_LEVELS: Final = ("minimal", "low", "medium", "high", "xhigh")


def body(prompt: Prompt) -> Json:
    """Return the request's JSON, without `model`, `stream` and what makes it a background interaction."""
    params = for_responses({name: it for name, it in prompt.params.items() if name not in _SET_BY_US})
    params = {name: it for name, it in params.items() if name not in _WITHOUT_COUNTERPART}
    if params.get("parallel_tool_calls") is True:  # it is how Gemini calls; the opposite it does not have
        del params["parallel_tool_calls"]
    for alias in ("max_completion_tokens", "max_tokens"):
        if alias in params:
            params.setdefault("max_output_tokens", params.pop(alias))
    if "stop" in params:
        stop = params.pop("stop")
        params.setdefault("stop_sequences", [stop] if isinstance(stop, str) else stop)
    config: Json = {name: params.pop(name) for name in _IN_CONFIG if name in params}
    config |= _thinking(params)
    if "tool_choice" in params:
        config["tool_choice"] = _tool_choice(params.pop("tool_choice"))
    if config or "generation_config" in params:
        params["generation_config"] = config | (params.get("generation_config") or {})
    if isinstance(params.get("tools"), list):
        params["tools"] = [_tool(definition) for definition in params["tools"]]
    _write_format(params)
    read = turns(prompt.messages)
    if system := _system(prompt, read):
        params["system_instruction"] = system
    return {**params, "input": list(_steps(read))}


def _thinking(params: Json) -> Json:
    """Take the params of reasoning out, and return them as Gemini's."""
    reasoning = params.get("reasoning")
    if not isinstance(reasoning, dict) or reasoning.get("effort") not in (None, *_LEVELS):
        return {}
    del params["reasoning"]
    level = {"thinking_level": reasoning["effort"]} if reasoning.get("effort") else {}
    return level | ({"thinking_summaries": "auto"} if reasoning.get("summary") else {})


def _write_format(params: Json) -> None:
    """Write the form of the answer as Gemini's; one that it does not have stays, and the provider refuses it."""
    match params.get("text") if set(params.get("text") or ()) == {"format"} else None:
        case {"format": {"type": "json_schema", "schema": dict(schema)}}:
            form: Json = {"type": "text", "mime_type": "application/json", "schema": schema}
        case {"format": {"type": "json_object"}}:
            form = {"type": "text", "mime_type": "application/json"}
        case {"format": {"type": "text"}}:
            form = {}
        case _:
            return
    del params["text"]
    if form:
        params["response_format"] = form


def _tool(definition: Json) -> Json:
    function = read_tool(definition)
    if function is None:
        return definition
    described: Json = {"description": function.description} if function.description else {}
    return {"type": "function", "name": function.name, **described, "parameters": function.schema}


def _tool_choice(choice: Any) -> Any:
    if (allowed := read_allowed_tools(choice)) is not None:
        mode, tools = allowed
        names = [read_tool_choice(tool)[1] for tool in tools]
        return {"allowed_tools": {"mode": _CHOICES.get(mode, mode), "tools": names}} if all(names) else choice
    kind, name = read_tool_choice(choice)
    if kind == "named":
        return {"allowed_tools": {"mode": "any", "tools": [name]}}
    return _CHOICES[kind] if kind else choice


def _system(prompt: Prompt, read: list[Turn]) -> Any:
    """Return the `system` param joined with all system messages: Gemini has one text for them."""
    system = prompt.params.get("system")
    blocks = system if isinstance(system, list) else [{"text": system}] if system else []
    texts = [str(block.get("text") or "") if isinstance(block, dict) else str(block) for block in blocks]
    spoken = (part for turn in read if turn.role == "system" for part in turn.parts)
    texts += [part.text for part in spoken if isinstance(part, PlainText)]
    return "\n\n".join(filter(None, texts))


def _steps(read: list[Turn]) -> Iterator[Json]:
    """Yield the conversation's steps. A message's content in a row is one; its calls, results, thoughts are others."""
    names: dict[str, str] = {}
    for turn in read:
        if turn.role == "system":
            continue
        content: list[Json] = []
        for part in turn.parts:
            step = _step(part, names, turn.role)
            if step is None:
                content.append(_content(part))
                continue
            yield from _spoken(turn.role, content)
            content = []
            yield step
        yield from _spoken(turn.role, content)


def _spoken(role: str, content: list[Json]) -> Iterator[Json]:
    if content:
        yield {"type": "model_output" if role == "assistant" else "user_input", "content": content}


def _step(part: Part, names: dict[str, str], role: str) -> Json | None:
    """Return a part that is a step of its own; None: it is content."""
    match part:
        case Call(call_id, name, arguments):
            names[call_id] = name
            return {"type": "function_call", "id": call_id, "name": name, "arguments": _arguments(arguments)}
        case Result(call_id, output, is_error):
            result = [_content(inner) for inner in output] if part.text is None else part.text
            marked: Json = {"name": names[call_id]} if call_id in names else {}
            return {"type": "function_result", "call_id": call_id, "result": result, "is_error": is_error, **marked}
        case Thought({"signature": str(signature)} as thought):
            summary = [{"type": "text", "text": thought["thinking"]}] if thought.get("thinking") else []
            return {"type": "thought", "signature": signature, "summary": summary}
        case Thought(raw):  # Anthropic's, in cipher
            return raw
        case Raw(raw) if not role:  # an item of its own, which the provider judges
            return raw
    return None


def _content(part: Part) -> Json:
    match part:
        case PlainText(text):
            return {"type": "text", "text": text}
        case Image(url=url):
            return {"type": "image", **_source(url)}
        case File(url=url):
            return {"type": "document", **_source(url)}
        case Raw(raw):
            return raw
    raise AssertionError(part)


def _source(url: str) -> Json:
    media_type, separator, data = url.removeprefix("data:").partition(";base64,")
    if url.startswith("data:") and separator:
        return {"data": data, "mime_type": media_type}
    return {"uri": url}


def _arguments(text: str) -> Any:
    try:
        return orjson.loads(text or "{}")
    except orjson.JSONDecodeError:  # a call that the model cut off
        return {"text": text}
