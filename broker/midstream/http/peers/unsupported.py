"""What the peers' endpoints do not support, refused by name instead of ignored (PROTOCOL: Faces/Unsupported)."""

from typing import Final

from midstream.http.problems import Problem
from midstream.log.entries import Json
from midstream.requests.catalogue import split
from midstream.requests.effective_params import needs_chat, unsupported_params
from midstream.requests.summaries import DamagedSummaryError, is_foreign, opened
from midstream.settings import Settings

INCLUDABLE: Final = frozenset(
    (
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
    )
)
ENCRYPTED: Final = "reasoning.encrypted_content"

# The client would have to answer their calls, and the log has no entry for such calls.
_CLIENT_TOOLS: Final = frozenset(
    (
        *("custom", "computer", "computer_use_preview", "local_shell", "shell", "apply_patch"),
        *("image_generation", "namespace", "tool_search", "programmatic_tool_calling"),
    )
)

_NAMES: Final = {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Gemini"}
_RESPONSES_TOOLS: Final = frozenset(
    (
        *("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"),
        *("file_search", "code_interpreter", "mcp"),
    )
)


def refuse_for_responses(params: Json, items: list[Json]) -> None:
    """Refuse what a response asks for that no response here has.

    Raises:
        Problem: 400 `unsupported_parameter` or `unsupported_value`.
    """
    hints = {
        "conversation": "Give `previous_response_id`, or the input itself.",
        "context_management": f"Instead, {_COMPACT} when it is time.",
    }
    _refuse_set(params, hints)
    _refuse_logprobs(params)
    for item in items:
        if item.get("type") == "item_reference":
            raise _value("input", "An `item_reference` is not looked up here: give the item itself.")
        if item.get("type") == "compaction_trigger":
            raise _value("input", f"A `compaction_trigger` is not taken here: {_COMPACT}.")
    for tool in params.get("tools") or ():
        if str(tool.get("type")) in _CLIENT_TOOLS:
            raise _value("tools", f"Tools of type {tool['type']!r} cannot be streamed here: use a function.")


def refuse_unreadable(items: list[Json], model: str, settings: Settings) -> None:
    """Refuse a compaction that the model cannot read.

    Raises:
        Problem: 400 `unsupported_value`: it was made at OpenAI, and the model is another provider's.
            400 `invalid_encrypted_content`: it was made here, and has been changed since.
    """
    is_read_there = split(model)[0] == "openai" and settings.openai_dialect == "responses"
    for item in items:
        if is_foreign(item) and not is_read_there:
            raise _value("input", "This compaction was not made here, but at OpenAI: only its own models read it.")
        try:
            opened(item)
        except DamagedSummaryError as error:
            raise Problem(400, "invalid_encrypted_content", str(error), param="input") from None


def refuse_for_chat(params: Json) -> None:
    """Refuse what a completion asks for that no completion here has; raises as `refuse_for_responses`."""
    why = "Give `tools`."
    _refuse_set(params, {"functions": why, "function_call": why, "audio": "The answer is text."})
    _refuse_logprobs(params)
    if params.get("n", 1) != 1:
        raise _value("n", "One choice is generated for each request: send others for more.")
    if set(params.get("modalities") or ()) - {"text"}:
        raise _value("modalities", "The answer is text.")
    for tool in params.get("tools") or ():
        if tool.get("type") == "custom":
            raise _value("tools", "Tools of type 'custom' cannot be streamed here: use a function.")


def refuse_lacking(model: str, params: Json, settings: Settings) -> None:
    """Refuse a param that no API of the model's provider knows, and one whose API does not know the request's tools.

    Raises:
        Problem: 400 `unsupported_parameter`.
    """
    provider, _ = split(model)
    for name in unsupported_params(model, params):
        hint = "leave it out, or ask a model of another provider (MIDSTREAM_PROVIDERS)."
        raise _parameter(name, f"{name!r} is no parameter of {_NAMES.get(provider, provider)}'s: {hint}")
    for name in needs_chat(model, params, settings):
        for kind in (str(tool.get("type")) for tool in params.get("tools") or ()):
            if kind in _RESPONSES_TOOLS:
                why = (
                    f"{name!r} is known to OpenAI's chat completions alone, and tools of type {kind!r} to its Responses"
                )
                raise _parameter(name, f"{why}: leave one of them out.")


def encrypted_of(include: list[str] | None) -> bool:
    """Tell whether encrypted reasoning is to be included.

    Raises:
        Problem: 400 `unsupported_value`: a value that OpenAI does not know either.
    """
    for value in include or ():
        if value not in INCLUDABLE:
            raise _value("include", f"{value!r} cannot be included. What can be: {', '.join(sorted(INCLUDABLE))}.")
    return ENCRYPTED in (include or ())


def _refuse_set(params: Json, hints: dict[str, str]) -> None:
    for name, hint in hints.items():
        if params.get(name) is not None:
            raise _parameter(name, f"{name!r} is not supported here. {hint}")


def _refuse_logprobs(params: Json) -> None:
    _refuse_set({name: params.get(name) or None for name in ("logprobs", "top_logprobs")}, _NO_LOGPROBS)


_COMPACT: Final = "send the conversation to /v1/responses/compact"
_NO_LOGPROBS: Final = dict.fromkeys(("logprobs", "top_logprobs"), "The log keeps no probabilities.")


def _parameter(name: str, detail: str) -> Problem:
    return Problem(400, "unsupported_parameter", detail, param=name)


def _value(param: str, detail: str) -> Problem:
    return Problem(400, "unsupported_value", detail, param=param)
