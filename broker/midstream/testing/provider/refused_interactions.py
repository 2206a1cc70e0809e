"""Refuses what the types of Google's SDK do not allow in an interaction; test_source_gemini.py compares the two."""

from collections.abc import Iterator
from typing import Any, Literal, Required, TypedDict

from midstream.testing.provider.shapes import Fault, fault_of_fields, fields_of

Json = dict[str, Any]


class _AllowedTools(TypedDict, total=False):
    mode: Literal["auto", "any", "none", "validated"]
    tools: list[str]


class _ToolChoice(TypedDict, total=False):
    allowed_tools: _AllowedTools


class GenerationConfig(TypedDict, total=False):
    """`generation_config`."""

    image_config: Json
    max_output_tokens: int
    seed: int
    speech_config: Any
    stop_sequences: list[str]
    temperature: float
    thinking_level: Literal["minimal", "low", "medium", "high", "xhigh"]
    thinking_summaries: Literal["auto", "none"]
    tool_choice: Literal["auto", "any", "none", "validated"] | _ToolChoice
    top_p: float
    transcription_config: Json
    video_config: Json


class Body(TypedDict, total=False):
    """What creates an interaction of a model."""

    model: Required[str]
    background: bool
    cached_content: str
    continuation_token: str
    environment: Any
    generation_config: GenerationConfig
    input: Required[list[Json]]
    labels: dict[str, str]
    previous_interaction_id: str
    response_format: Any
    response_mime_type: str
    response_modalities: list[str]
    safety_settings: list[Json]
    service_tier: str
    store: bool
    stream: bool
    system_instruction: str
    tools: list[Json]
    webhook_config: Json


class FunctionTool(TypedDict, total=False):
    """A tool of type `function`."""

    type: Required[Literal["function"]]
    defer_loading: bool
    description: str
    name: str
    parameters: Any
    short_description: str


class UserInput(TypedDict, total=False):
    """A step of the user's."""

    type: Required[Literal["user_input"]]
    content: list[Json]


class ModelOutput(TypedDict, total=False):
    """A step of an earlier answer."""

    type: Required[Literal["model_output"]]
    content: list[Json]
    error: Json


class Thought(TypedDict, total=False):
    """A thought of an earlier answer."""

    type: Required[Literal["thought"]]
    signature: str
    summary: list[Json]


class FunctionCall(TypedDict):
    """A call of an earlier answer."""

    type: Literal["function_call"]
    id: str
    name: str
    arguments: Json


class FunctionResult(TypedDict, total=False):
    """The result of a call."""

    type: Required[Literal["function_result"]]
    call_id: Required[str]
    result: Required[Any]
    is_error: bool
    name: str


STEPS: dict[str, Any] = {
    "user_input": UserInput,
    "model_output": ModelOutput,
    "thought": Thought,
    "function_call": FunctionCall,
    "function_result": FunctionResult,
}


def refuse_interaction(body: Json) -> str | None:
    """Return why an interaction is refused, if it is."""
    if fault := fault_of_fields(body, fields_of(Body)):
        return _words(fault)
    if body.get("background") and body.get("store") is False:
        return "Background interactions must be stored: `background` and `store=false` exclude each other."
    for number, step in enumerate(body["input"]):
        shape = STEPS.get(step.get("type", ""))
        if shape is None:
            return f"Invalid value at 'input[{number}].type': {step.get('type')!r}"
        if fault := fault_of_fields(step, fields_of(shape), ("input", number)):
            return _words(fault)
    for number, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "function" and (
            fault := fault_of_fields(tool, fields_of(FunctionTool), ("tools", number))
        ):
            return _words(fault)
    return next(_unpaired(body["input"]), None)


def _unpaired(steps: list[Json]) -> Iterator[str]:
    """Yield what breaks the rule that a call is followed by its result, and no result comes without its call."""
    called = [step["id"] for step in steps if step["type"] == "function_call"]
    answered = [step["call_id"] for step in steps if step["type"] == "function_result"]
    if sorted(called) != sorted(answered):
        yield (
            "Please ensure that the number of function response parts is equal to the number of function call parts of "
            "the function call turn."
        )


def _words(fault: Fault) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault.path).removeprefix(".")
    match fault.kind:
        case "unknown":
            return f"Invalid JSON payload received. Unknown name \"{fault.path[-1]}\" at '{place}': Cannot find field."
        case "missing":
            return f"Missing required field: {place}"
    return f"Invalid value at '{place}': {fault.actual!r}"
