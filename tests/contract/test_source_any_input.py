"""Clients may send anything: whatever it is gets written as a body, and the provider judges it."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream_worker.sources import anthropic_input, chat_input, responses_input
from midstream_worker.sources.source import Prompt

Json = dict[str, Any]

WORDS = st.sampled_from(
    [
        *("text", "input_text", "image", "image_url", "input_image", "file", "input_file", "document", "tool_use"),
        *("tool_result", "thinking", "refusal", "function", "function_call", "function_call_output", "reasoning"),
        *("user", "assistant", "system", "tool", "json_schema", "auto", "none", "any", "base64", "url", "minimal"),
        "allowed_tools",
    ]
)
NAMES = st.sampled_from(
    [
        *("type", "role", "content", "text", "source", "image_url", "url", "file", "file_data", "filename", "title"),
        *("tool_calls", "tool_call_id", "tool_use_id", "id", "call_id", "name", "arguments", "input", "output", "data"),
        *("function", "parameters", "input_schema", "media_type", "thinking", "refusal", "format", "schema", "effort"),
        *("json_schema", "mode", "tools", "allowed_tools"),
    ]
)
PARAMS = st.sampled_from(
    [
        *("tools", "tool_choice", "text", "reasoning", "reasoning_effort", "response_format", "output_config", "stop"),
        *("parallel_tool_calls", "verbosity", "stop_sequences", "user", "metadata", "system", "max_tokens", "store"),
        *("max_output_tokens", "max_completion_tokens", "include", "thinking"),
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=5)
BODIES: dict[str, Callable[[Prompt], Json]] = {
    "responses": lambda prompt: responses_input.body(prompt, background=True),
    "chat": lambda prompt: chat_input.body(prompt, at_openai=True),
    "compatible": lambda prompt: chat_input.body(prompt, at_openai=False),
    "anthropic": anthropic_input.body,
}


@pytest.mark.parametrize("dialect", BODIES)
@given(messages=st.lists(OBJECTS, min_size=1, max_size=3), params=st.dictionaries(PARAMS, VALUES, max_size=4))
def test_whatever_a_client_sends_is_written(dialect: str, messages: list[Json], params: Json) -> None:
    body = BODIES[dialect](Prompt("model-test", messages, params))
    assert orjson.loads(orjson.dumps(body))["model"] == "model-test"
