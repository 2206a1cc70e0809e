"""Messages that are written in the provider's own dialect already, and so need no conversion."""

from collections.abc import Iterable

from midstream.log.entries import Json

# The fields that a message has in any dialect, or in our own answers: SDKs send an answer back as history.
_MESSAGE_FIELDS = frozenset(
    (
        *("role", "content", "type", "id", "status", "phase", "name", "refusal", "annotations", "parsed"),
        *("audio", "function_call", "tool_calls", "tool_call_id", "reasoning", "reasoning_content"),
        *("model", "stop_reason", "stop_sequence", "usage"),
    )
)


def own_fields(message: Json, accepted: Iterable[str]) -> Json:
    """Return a message without the fields of other dialects, which this one refuses.

    A field that belongs to no dialect stays: the provider judges it.
    """
    return {
        name: value
        for name, value in message.items()
        if name == "content" or (name in accepted and value is not None) or name not in _MESSAGE_FIELDS
    }


def is_plain(message: Json, part_types: frozenset[str]) -> bool:
    """Tell whether a message's content is text or parts of these types only, with nothing beside it to convert."""
    content = message.get("content")
    if "tool_calls" in message or "tool_call_id" in message:
        return False
    return isinstance(content, str) or (
        isinstance(content, list) and all(isinstance(part, dict) and part.get("type") in part_types for part in content)
    )
