"""The body of `POST /v1/responses`: what of it is run, and what the response repeats."""

import re
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from midstream.log.entries import Json
from midstream.requests.request import Metadata

_OUR_ITEM: Final = re.compile(r"(msg|rs|fc|cmp)_[0-9a-f]{32}_\d+")


class ResponsesRequest(BaseModel):
    """A response to create. The provider judges fields that are not named here."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200)
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    previous_response_id: str | None = Field(default=None, max_length=100)
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    background: bool | None = None
    store: bool | None = None
    metadata: Metadata | None = Field(default=None, max_length=16)
    tools: list[dict[str, Any]] | None = None
    temperature: float | None = Field(default=None, strict=True)
    top_p: float | None = Field(default=None, strict=True)
    max_output_tokens: int | None = Field(default=None, ge=1)
    include: list[str] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None

    @property
    def params(self) -> Json:
        """What is passed on to the provider."""
        named = {
            "tools",
            "temperature",
            "top_p",
            "max_output_tokens",
            "store",
            "include",
            "text",
            "reasoning",
            "metadata",
        }
        return {**(self.model_extra or {}), **self.model_dump(include=named, exclude_none=True)}

    @property
    def items(self) -> list[Json]:
        """The input as items."""
        return items_of(self.input or [])

    def echo(self) -> Json:
        """Return what the response repeats of the request."""
        fields = {**self.params, "metadata": self.metadata or {}}
        for name in ("instructions", "previous_response_id"):
            fields[name] = getattr(self, name)
        if self.tools:
            fields["tools"] = [_tool(tool) for tool in self.tools]
        echo = {name: value for name, value in fields.items() if name in _ECHOED and value is not None}
        if "reasoning" in echo:
            echo["reasoning"] = {**_DEFAULTS["reasoning"], **echo["reasoning"]}
        if "text" in echo:
            echo["text"] = {**_DEFAULTS["text"], **echo["text"]}
        return {"model": self.model, **echo}


_DEFAULTS: Final[Json] = {
    "instructions": None,
    "previous_response_id": None,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "truncation": "disabled",
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": None, "summary": None},
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
_ECHOED: Final = frozenset((*_DEFAULTS, "user"))


def whole_echo(echo: Json) -> Json:
    """Return an echo with every field that a response has to have."""
    return {**_DEFAULTS, **echo}


def items_of(prompt: str | list[Json]) -> list[Json]:
    """Return an input as items."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [sendable for item in prompt if (sendable := _sendable(item)) is not None]


def _sendable(item: Json) -> Json | None:
    """Return an input item as providers accept it, without the ids that only we know; None if it cannot be sent.

    Reasoning of ours goes back encrypted or not at all, because the provider accepts its words from nobody.
    """
    ours = _OUR_ITEM.fullmatch(str(item.get("id")))
    if item.get("type") == "reasoning" and ours and not item.get("encrypted_content"):
        return None
    if "role" in item and item.get("type", "message") == "message":
        return {name: value for name, value in item.items() if name in ("role", "content", "phase")}
    return {name: value for name, value in item.items() if not (ours and name in ("id", "status"))}


def _tool(tool: Json) -> Json:
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}
