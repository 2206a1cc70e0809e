"""Params that two dialects have under different names.

What has no counterpart goes on as it is: the provider judges it.
"""

from typing import Any

from worker.sources.conversation import Json

# They ask for more in a response of OpenAI's own shape, and mean nothing elsewhere.
_OF_RESPONSES_ALONE = frozenset(("include", "truncation", "max_tool_calls"))


def for_responses(params: Json) -> Json:
    """Return params with those of chat completions in the words of OpenAI Responses."""
    given = dict(params)
    text: Json = {}
    if "response_format" in given:
        text["format"] = _flat(given.pop("response_format"))
    if "verbosity" in given:
        text["verbosity"] = given.pop("verbosity")
    if text:
        given["text"] = text | (given.get("text") or {})
    if "reasoning_effort" in given:
        given["reasoning"] = {"effort": given.pop("reasoning_effort")} | (given.get("reasoning") or {})
    return given


def for_chat(params: Json) -> Json:
    """Return params with those of Responses and of Anthropic in the words of chat completions."""
    given = {name: value for name, value in params.items() if name not in _OF_RESPONSES_ALONE}
    text, reasoning = given.pop("text", None), given.pop("reasoning", None)
    if isinstance(text, dict):
        if text.get("format"):
            given.setdefault("response_format", _nested(text["format"]))
        if text.get("verbosity"):
            given.setdefault("verbosity", text["verbosity"])
    if isinstance(reasoning, dict) and reasoning.get("effort"):
        given.setdefault("reasoning_effort", reasoning["effort"])
    if "stop_sequences" in given:
        given.setdefault("stop", given.pop("stop_sequences"))
    return given


def for_anthropic(params: Json) -> Json:
    """Return params with those of OpenAI in Anthropic's words."""
    given = {name: value for name, value in params.items() if name not in _OF_RESPONSES_ALONE}
    if "stop" in given:
        stop = given.pop("stop")
        given.setdefault("stop_sequences", [stop] if isinstance(stop, str) else stop)
    if "user" in given:
        given.setdefault("metadata", {"user_id": given.pop("user")})
    return given


def _flat(form: Any) -> Any:
    """Return chat's `response_format` as the `text.format` of a response."""
    match form:
        case {"type": "json_schema", "json_schema": dict(schema)}:
            return {"type": "json_schema", **schema}
    return form


def _nested(form: Any) -> Any:
    """Return the `text.format` of a response as chat's `response_format`."""
    match form:
        case {"type": "json_schema", "schema": _}:
            return {
                "type": "json_schema",
                "json_schema": {name: value for name, value in form.items() if name != "type"},
            }
    return form
