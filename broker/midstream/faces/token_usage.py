"""The tokens that a provider counted, in the shape of each peer."""

from typing import NamedTuple

from midstream.log.entries import Json


class _Counts(NamedTuple):
    """The figures of a `usage`, 0 where the provider gave none."""

    input: int
    output: int
    cache_read: int
    cache_written: int
    reasoning: int


def chat_usage(usage: Json | None) -> Json | None:
    """Return the counted tokens in the shape of chat completions."""
    if not usage:
        return None
    counts = _counts(usage, "cached_tokens", "cache_read_input_tokens")
    return {
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.cache_read},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning},
    }


def responses_usage(usage: Json | None) -> Json | None:
    """Return the counted tokens in the shape of OpenAI's responses."""
    if not usage:
        return None
    counts = _counts(usage, "cached_tokens", "cache_read_input_tokens")
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {"cached_tokens": counts.cache_read, "cache_write_tokens": counts.cache_written},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.input + counts.output,
    }


def messages_usage(usage: Json | None) -> Json:
    """Return the counted tokens in Anthropic's shape, which has no null: 0 where there is no `usage` (yet)."""
    counts = _counts(usage or {"input_tokens": 0, "output_tokens": 0}, "cache_read_input_tokens", "cached_tokens")
    return {
        "input_tokens": counts.input,
        "output_tokens": counts.output,
        "cache_read_input_tokens": counts.cache_read,
        "cache_creation_input_tokens": counts.cache_written,
        "server_tool_use": None,
    }


def _counts(usage: Json, cache_read: str, other_cache_read: str) -> _Counts:
    """Return the figures; tokens from a cache have a name at each provider, and the peer's own one wins."""
    details = usage.get("details") or {}
    return _Counts(
        usage["input_tokens"],
        usage["output_tokens"],
        details.get(cache_read, details.get(other_cache_read, 0)),
        details.get("cache_creation_input_tokens", 0),
        details.get("reasoning_tokens", 0),
    )
