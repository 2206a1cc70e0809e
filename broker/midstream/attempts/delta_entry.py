"""The entries that deltas become."""

from midstream.attempts.delta import Delta, Other, Reasoning, Text, ToolCall, ToolInput, Usage
from midstream.log.entries import TOOL_CALL, TOOL_INPUT, Entry


def entry_of(delta: Delta) -> Entry:
    """Return the entry that a delta with content becomes."""
    match delta:
        case Usage(input_tokens, output_tokens, details):
            return Entry("usage", {"input_tokens": input_tokens, "output_tokens": output_tokens, "details": details})
        case Text(text):
            return Entry("text", {"text": text})
        case Reasoning(text):
            return Entry("reasoning", {"text": text})
        case ToolInput(call_id, name, fragment):
            return Entry(TOOL_INPUT, {"id": call_id, "name": name, "delta": fragment})
        case ToolCall(call_id, name, arguments):
            return Entry(TOOL_CALL, {"id": call_id, "name": name, "arguments": arguments})
        case Other(kind, data):
            return Entry(kind, data)
        case _:
            raise AssertionError(f"{delta} is not content")
