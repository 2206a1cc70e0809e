"""Refuses what the originals refuse, in their words: unknown and missing fields, wrong types, broken rules."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Required

from anthropic.types import message_create_params as of_messages
from anthropic.types.beta import message_create_params as of_beta_messages
from openai.types.chat import completion_create_params as of_chat
from openai.types.responses import response_create_params as of_responses

from midstream.testing.provider.pairs import chat_pairs, message_pairs, response_pairs
from midstream.testing.provider.shapes import Fault, Fields, Path, fault_of_fields, fields_of

Json = dict[str, Any]

_STREAM = {"stream": bool | None}
_CHAT: Fields = {**fields_of(of_chat.CompletionCreateParamsStreaming), **_STREAM}
_RESPONSES: Fields = {**fields_of(of_responses.ResponseCreateParamsStreaming), "model": Required[str], **_STREAM}
# Older models take these, though the SDK's types have left them out.
_SAMPLING = {"temperature": float, "top_p": float, "top_k": int}
_MESSAGES: Fields = {**fields_of(of_messages.MessageCreateParamsStreaming), **_SAMPLING, **_STREAM}
_BETA: Fields = {**fields_of(of_beta_messages.MessageCreateParamsStreaming), **_SAMPLING, **_STREAM}
_IN_HEADERS = ("betas", "user_profile_id", "workspace_id")

_NAMES: Mapping[Any, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_VALID: Mapping[Any, str] = {
    str: "a valid string",
    bool: "a valid boolean",
    int: "a valid integer",
    float: "a valid number",
    list: "a valid list",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a body is refused; Anthropic's errors hold the message alone."""

    message: str
    param: str | None = None
    code: str | None = None


def refuse_completion(body: Json) -> Refusal | None:
    """Return why OpenAI refuses a chat completion, if it does."""
    if fault := fault_of_fields(body, _CHAT):
        return _in_words_of_openai(fault)
    if body.get("metadata") and not body.get("store"):
        return Refusal("The 'metadata' parameter is only allowed when 'store' is enabled.", "metadata")
    schema = (body.get("response_format") or {}).get("json_schema") or {}
    if schema.get("strict") and (why := next(_loose(schema.get("schema") or {}), None)):
        return Refusal(f"Invalid schema for response_format '{schema['name']}': {why}", "response_format")
    for tool in body.get("tools") or ():
        if refusal := _loose_tool(tool.get("function") or {}):
            return refusal
    return _paired(body["messages"], chat_pairs)


def refuse_response(body: Json) -> Refusal | None:
    """Return why OpenAI refuses a response, if it does."""
    if fault := fault_of_fields(body, _RESPONSES):
        return _in_words_of_openai(fault)
    if body.get("background") and body.get("store") is False:
        return Refusal("Background mode requires store=true.", "store")
    for number, item in enumerate(body["input"] if isinstance(body.get("input"), list) else ()):
        for at, part in enumerate(item["content"] if isinstance(item.get("content"), list) else ()):
            if item.get("role") == "assistant" and part["type"] not in ("output_text", "refusal"):
                message = f"Invalid value: '{part['type']}'. Supported values are: 'output_text' and 'refusal'."
                return Refusal(message, f"input[{number}].content[{at}]", "invalid_value")
    form = (body.get("text") or {}).get("format") or {}
    if form.get("strict") and (why := next(_loose(form.get("schema") or {}), None)):
        message = f"Invalid schema for response_format '{form['name']}': {why}"
        return Refusal(message, "text.format.schema", "invalid_json_schema")
    for tool in body.get("tools") or ():
        if tool["type"] == "function" and (refusal := _loose_tool(tool)):
            return refusal
    return _paired(body["input"], response_pairs) if isinstance(body.get("input"), list) else None


def refuse_message(body: Json, betas: str | None) -> Refusal | None:
    """Return why Anthropic refuses a message, if it does; `betas` is its header `anthropic-beta`."""
    fields = {name: hint for name, hint in (_BETA if betas else _MESSAGES).items() if name not in _IN_HEADERS}
    if fault := fault_of_fields(body, fields):
        return _in_words_of_anthropic(fault)
    for number, message in enumerate(body["messages"]):
        for at, block in enumerate(message["content"] if isinstance(message["content"], list) else ()):
            if block["type"] == "text" and not block["text"]:
                return Refusal(f"messages.{number}.content.{at}.text: text content blocks must be non-empty")
        if not message["content"] and (number + 1 < len(body["messages"]) or message["role"] == "user"):
            return Refusal(f"messages.{number}: all messages must have non-empty content")
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema") or {}
    if any(inner.get("additionalProperties") is not False for _, inner in _objects(schema)):
        why = "For 'object' type, 'additionalProperties' must be explicitly set to false"
        return Refusal(f"output_config.format.schema: {why}")
    return _paired(body["messages"], message_pairs)


def _paired(messages: list[Json], pairs: Callable[[list[Json]], Iterator[str]]) -> Refusal | None:
    return next((Refusal(why) for why in pairs(messages)), None)


def _loose_tool(function: Json) -> Refusal | None:
    if function.get("strict") and (why := next(_loose(function.get("parameters") or {}), None)):
        message = f"Invalid schema for function '{function['name']}': {why}"
        return Refusal(message, "tools[0].function.parameters", "invalid_function_parameters")
    return None


def _loose(schema: Json) -> Iterator[str]:
    """Yield what a strict schema must not leave open."""
    for context, inner in _objects(schema):
        if inner.get("additionalProperties") is not False:
            yield f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
        if missing := [name for name in inner.get("properties") or {} if name not in (inner.get("required") or ())]:
            why = "'required' is required to be supplied and to be an array including every key in properties."
            yield f"In context={context}, {why} Missing '{missing[0]}'."


def _objects(schema: Any, context: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Yield every schema of an object within a schema, and where it is."""
    if isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from _objects(inner, (*context, str(number)))
    elif isinstance(schema, dict):
        if schema.get("type") == "object":
            yield context, schema
        for name, inner in schema.items():
            yield from _objects(inner, (*context, name))


def _in_words_of_openai(fault: Fault) -> Refusal:
    param = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault.path).removeprefix(".")
    match fault.kind:
        case "unknown":
            return Refusal(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
        case "missing":
            return Refusal(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
        case "type":
            types = " or ".join(dict.fromkeys(_NAMES.get(kind, "an object") for kind in fault.expected if kind))
            got = _NAMES.get(type(fault.actual), "null")
            message = f"Invalid type for '{param}': expected {types}, but got {got} instead."
            return Refusal(message, param, "invalid_type")
    allowed = ", ".join(f"'{word}'" for word in fault.expected)
    return Refusal(f"Invalid value: '{fault.actual}'. Supported values are: {allowed}.", param, "invalid_value")


def _in_words_of_anthropic(fault: Fault) -> Refusal:
    place = ".".join(map(str, fault.path))
    match fault.kind:
        case "unknown":
            return Refusal(f"{place}: Extra inputs are not permitted")
        case "missing":
            return Refusal(f"{place}: Field required")
        case "type":
            return Refusal(f"{place}: Input should be {_VALID.get(fault.expected[0], 'a valid dictionary')}")
    return Refusal(f"{place}: Input should be {' or '.join(repr(word) for word in fault.expected)}")
