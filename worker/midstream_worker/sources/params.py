"""Params that two dialects have under different names.

What has no counterpart goes on as it is: the provider judges it.
"""

from typing import Any

from midstream.log.entries import Json
from midstream.requests.effective_params import effective

# They ask for more in a response of OpenAI's own shape, or ease OpenAI's work, and mean nothing elsewhere.
_OF_RESPONSES_ALONE = frozenset(("include", "truncation", "max_tool_calls"))
_OF_OPENAI_ALONE = _OF_RESPONSES_ALONE | {"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}


def for_responses(params: Json) -> Json:
    """Return params with those of chat completions and of Anthropic in the words of OpenAI Responses."""
    given = _of_openai(params)
    if _user_of(given) and given["metadata"]["user_id"] is None:
        del given["metadata"]
    text: Json = {}
    if "response_format" in given:
        text["format"] = _flat(given.pop("response_format"))
    if "verbosity" in given:
        text["verbosity"] = given.pop("verbosity")
    if text:
        given["text"] = text | _dict(given.get("text"))
    if "reasoning_effort" in given:
        given["reasoning"] = {"effort": given.pop("reasoning_effort")} | _dict(given.get("reasoning"))
    return given


def for_chat(params: Json) -> Json:
    """Return params with those of Responses and of Anthropic in the words of chat completions."""
    given = {name: value for name, value in _of_openai(params).items() if name not in _OF_RESPONSES_ALONE}
    if _user_of(given) and given["metadata"]["user_id"]:
        given.setdefault("user", given["metadata"]["user_id"])
    given.pop("metadata", None)  # of what is stored alone, as `chat_input` says
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
    given = {name: it for name, it in effective(params).items() if name not in _OF_OPENAI_ALONE}
    if config := _output_config(given):
        given["output_config"] = config
    if "stop" in given:
        stop = given.pop("stop")
        given.setdefault("stop_sequences", [stop] if isinstance(stop, str) else stop)
    if "metadata" in given and not _user_of(given):  # OpenAI's is a note for later, and nothing to Anthropic
        del given["metadata"]
    if "user" in given:
        given.setdefault("metadata", {"user_id": given.pop("user")})
    return given


def _of_openai(params: Json) -> Json:
    """Return params with those of Anthropic, where there are such, in the words of chat completions."""
    given = effective(params)
    config = _dict(given.pop("output_config", None))
    if schema := _dict(config.get("format")).get("schema"):
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        given.setdefault("response_format", form)
    if config.get("effort"):
        given.setdefault("reasoning_effort", config["effort"])
    if _dict(given.get("tool_choice")).get("disable_parallel_tool_use"):
        given.setdefault("parallel_tool_calls", False)
    return given


def _user_of(params: Json) -> bool:
    """Tell whether the metadata is Anthropic's, which names the user and nothing else."""
    return set(_dict(params.get("metadata"))) == {"user_id"}


def _output_config(given: Json) -> Json:
    """Take what says how to answer out of params, and return it in Anthropic's words."""
    text, reasoning = given.pop("text", None), given.pop("reasoning", None)
    config = _dict(given.pop("output_config", None))
    effort = given.pop("reasoning_effort", None) or _dict(reasoning).get("effort")
    if effort not in (None, "none"):
        config.setdefault("effort", "low" if effort == "minimal" else effort)
    form = given.get("response_format") or _dict(text).get("format")
    match _flat(form):
        case {"type": "json_schema", "schema": dict(schema)}:
            config.setdefault("format", {"type": "json_schema", "schema": schema})
            given.pop("response_format", None)
        case {"type": "text"}:
            given.pop("response_format", None)
        case {"type": _}:  # Anthropic has no other form, and says so
            given["response_format"] = form
    return config


def _dict(value: Any) -> Json:
    """Return a copy of an object, or an empty one in place of anything else."""
    return dict(value) if isinstance(value, dict) else {}


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
