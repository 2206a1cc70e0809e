"""The deltas under the name by which apps import them."""

from midstream.attempts.delta import (
    Delta,
    Finish,
    FinishReason,
    Other,
    Reasoning,
    SourceError,
    Text,
    ToolCall,
    ToolInput,
    Upstream,
    Usage,
)

__all__ = [
    "Delta",
    "Finish",
    "FinishReason",
    "Other",
    "Reasoning",
    "SourceError",
    "Text",
    "ToolCall",
    "ToolInput",
    "Upstream",
    "Usage",
]
