"""Translates params that dialects have under different names.

A param without a counterpart stays as it is: the provider judges it.
"""

from typing import Any

from midstream.log.entries import Json
from midstream.requests.effective_params import effective

# These ask for more in a response of OpenAI's own shape, or ease OpenAI's work; no other API has a use for them.
_OF_RESPONSES_ALONE = frozenset(("include", "truncation", "max_tool_calls"))
_OF_OPENAI_ALONE = _OF_RESPONSES_ALONE | {"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}


def for_responses(params: Json) -> Json:
    """Return params of chat completions and of Anthropic as those of OpenAI Responses."""
    translated = _of_openai(params)
    if _user_of(translated) and translated["metadata"]["user_id"] is None:
        del translated["metadata"]
    text: Json = {}
    if "response_format" in translated:
        text["format"] = _flat(translated.pop("response_format"))
    if "verbosity" in translated:
        text["verbosity"] = translated.pop("verbosity")
    if text:
        translated["text"] = text | _dict(translated.get("text"))
    if "reasoning_effort" in translated:
        translated["reasoning"] = {"effort": translated.pop("reasoning_effort")} | _dict(translated.get("reasoning"))
    return translated


def for_chat(params: Json) -> Json:
    """Return params of Responses and of Anthropic as those of chat completions."""
    translated = {name: value for name, value in _of_openai(params).items() if name not in _OF_RESPONSES_ALONE}
    if _user_of(translated) and translated["metadata"]["user_id"]:
        translated.setdefault("user", translated["metadata"]["user_id"])
    translated.pop("metadata", None)  # OpenAI takes it only with what it stores; `chat_input` adds it there
    text, reasoning = translated.pop("text", None), translated.pop("reasoning", None)
    if isinstance(text, dict):
        if text.get("format"):
            translated.setdefault("response_format", _nested(text["format"]))
        if text.get("verbosity"):
            translated.setdefault("verbosity", text["verbosity"])
    if isinstance(reasoning, dict) and reasoning.get("effort"):
        translated.setdefault("reasoning_effort", reasoning["effort"])
    if "stop_sequences" in translated:
        translated.setdefault("stop", translated.pop("stop_sequences"))
    return translated


def for_anthropic(params: Json) -> Json:
    """Return params of OpenAI as those of Anthropic."""
    translated = {name: it for name, it in effective(params).items() if name not in _OF_OPENAI_ALONE}
    if config := _output_config(translated):
        translated["output_config"] = config
    if "stop" in translated:
        stop = translated.pop("stop")
        translated.setdefault("stop_sequences", [stop] if isinstance(stop, str) else stop)
    if "metadata" in translated and not _user_of(translated):  # Anthropic has no field for OpenAI's notes
        del translated["metadata"]
    if "user" in translated:
        translated.setdefault("metadata", {"user_id": translated.pop("user")})
    return translated


def _of_openai(params: Json) -> Json:
    """Return params of Anthropic, if there are any, as those of chat completions."""
    translated = effective(params)
    config = _dict(translated.pop("output_config", None))
    if schema := _dict(config.get("format")).get("schema"):
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        translated.setdefault("response_format", form)
    if config.get("effort"):
        translated.setdefault("reasoning_effort", config["effort"])
    if _dict(translated.get("tool_choice")).get("disable_parallel_tool_use"):
        translated.setdefault("parallel_tool_calls", False)
    return translated


def _user_of(params: Json) -> bool:
    """Tell whether the metadata is Anthropic's, which names the user and nothing else."""
    return set(_dict(params.get("metadata"))) == {"user_id"}


def _output_config(translated: Json) -> Json:
    """Take the params of the answer's form and effort out, and return them as Anthropic's `output_config`."""
    text, reasoning = translated.pop("text", None), translated.pop("reasoning", None)
    config = _dict(translated.pop("output_config", None))
    effort = translated.pop("reasoning_effort", None) or _dict(reasoning).get("effort")
    if effort not in (None, "none"):
        config.setdefault("effort", "low" if effort == "minimal" else effort)
    form = translated.get("response_format") or _dict(text).get("format")
    match _flat(form):
        case {"type": "json_schema", "schema": dict(schema)}:
            config.setdefault("format", {"type": "json_schema", "schema": schema})
            translated.pop("response_format", None)
        case {"type": "text"}:
            translated.pop("response_format", None)
        case {"type": _}:  # Anthropic has no other form: it refuses this one
            translated["response_format"] = form
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
