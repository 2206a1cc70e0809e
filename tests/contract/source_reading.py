"""What the tests of sources share: sources on the fake provider, and how to read one to its end."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from midstream_worker.sources.deltas import Delta, Finish, Reasoning, Text, ToolCall, ToolInput, Upstream, Usage
from midstream_worker.sources.providers import Sources
from midstream_worker.sources.source import Prompt, Source
from tests.provider.client import ProviderServer

KEY = "sk-test-0123456789abcdef"

# How each real source is reached: the settings that choose it, and a model of it.
DIALECTS: dict[str, tuple[dict[str, Any], str]] = {
    "responses": ({"openai_background": False}, "openai/gpt-test"),
    "background": ({"openai_background": True}, "openai/gpt-test"),
    "chat": ({"openai_dialect": "chat"}, "openai/gpt-test"),
    "compatible": ({}, "groq/some-model"),
    "anthropic": ({}, "anthropic/claude-test"),
}
# It is tested by itself, in test_source_gemini.py: importing its SDK takes longer than the tests.
GEMINI: dict[str, tuple[dict[str, Any], str]] = {
    "gemini": ({}, "gemini/gemini-test"),
    "gemini-foreground": ({"gemini_background": False}, "gemini/gemini-test"),
}

# The same conversation and the same tool, in each dialect.
CHAT_TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
RESPONSES_TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
ANTHROPIC_TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}}

CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": "https://x/i.png"}}],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    {"role": "user", "content": "And?"},
]
RESPONSES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Look."},
            {"type": "input_image", "image_url": "https://x/i.png", "detail": "auto"},
        ],
    },
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
    {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    {"role": "user", "content": "And?"},
]
ANTHROPIC: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look."},
            {"type": "image", "source": {"type": "url", "url": "https://x/i.png"}},
        ],
    },
    {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sunny"}]},
    {"role": "user", "content": "And?"},
]


def settings_for(url: str, dialect: str, **further: Any) -> Settings:
    """Return settings by which `dialect` is called at `url`."""
    chosen, _ = (DIALECTS | GEMINI)[dialect]
    return Settings(
        **{
            "openai_api_key": SecretStr(KEY),
            "anthropic_api_key": SecretStr(KEY),
            "openai_base_url": f"{url}/v1",
            "anthropic_base_url": url,
            "gemini_api_key": SecretStr(KEY),
            "gemini_base_url": url,
            "providers": {"groq": f"{url}/v1"},
            "local_url": f"{url}/v1",
            **chosen,
            **further,
        }
    )


@asynccontextmanager
async def source_for(provider: ProviderServer | str, dialect: str, **further: Any) -> AsyncIterator[Source]:
    """Yield the dialect's source and close it."""
    url = provider if isinstance(provider, str) else provider.url
    sources = Sources(settings_for(url, dialect, **further))
    try:
        yield sources.get((DIALECTS | GEMINI)[dialect][1])[0]
    finally:
        await sources.aclose()


def prompt(script: Script, **params: Any) -> Prompt:
    """Return a prompt that makes the provider follow the script."""
    return Prompt("model-test", [{"role": "user", "content": directive(script)}], params)


@dataclass
class Read:
    """Everything that a source yielded."""

    deltas: list[Delta]

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, Text))

    @property
    def reasoning(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, Reasoning))

    @property
    def arguments(self) -> str:
        return "".join(delta.delta for delta in self.deltas if isinstance(delta, ToolInput))

    @property
    def calls(self) -> list[ToolCall]:
        return [delta for delta in self.deltas if isinstance(delta, ToolCall)]

    @property
    def upstreams(self) -> list[Upstream]:
        return [delta for delta in self.deltas if isinstance(delta, Upstream)]

    @property
    def usages(self) -> list[Usage]:
        return [delta for delta in self.deltas if isinstance(delta, Usage)]

    @property
    def finish(self) -> str | None:
        last = self.deltas[-1] if self.deltas else None
        return last.reason if isinstance(last, Finish) else None

    @property
    def content(self) -> list[Delta]:
        """All deltas but those that only tell of the upstream."""
        return [delta for delta in self.deltas if not isinstance(delta, Upstream)]


async def read(deltas: Any, into: Read | None = None) -> Read:
    """Read a source to its end; what came before a failure stands in `into`."""
    got = into or Read([])
    async with aclosing(deltas):
        async for delta in deltas:
            got.deltas.append(delta)
    return got
