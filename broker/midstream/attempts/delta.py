"""What a source yields. Deltas are never stored as such: the writer batches them into entries.

The order in which a source yields them: any number of content deltas, at most one `Usage`, then exactly one
`Finish`. A source that ends without a `Finish` was cut short, and the worker seals the stream
as failed, never as completed (docs/findings.md: Upstream. A clean EOF without a terminal event looks like success).
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from midstream.journal.plain_text import brief

MESSAGE_CHARS: Final = 500
"""Longest message of a failure; the rest is cut."""
MOST_TOKENS: Final = 2**53 - 1
"""Clients in JavaScript read integers exactly up to here."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of the model's visible reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolInput:
    """A fragment of a tool call's JSON arguments as they are being written."""

    id: str
    name: str
    delta: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call with its whole arguments, as the JSON text that the model wrote."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Other:
    """Any other typed entry, as it is: `source`, `file`, `data` (with its `kind`), `tool_result`, `status`, `reset`."""

    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upstream:
    """The provider's own id of this generation, as soon as the provider sends it.

    `resumable` says that another process could go on reading the same generation by this id. `cursor` is
    the upstream's own position (sequence number) after the deltas so far.
    """

    id: str
    resumable: bool = False
    cursor: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that the provider has counted."""

    input_tokens: int
    output_tokens: int
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finish:
    """The provider has reported the end of the generation, with this reason."""

    reason: FinishReason


Delta = Text | Reasoning | ToolInput | ToolCall | Other | Upstream | Usage | Finish


class SourceError(Exception):
    """The upstream failed, mapped to our own code and cleaned of secrets.

    Attributes:
        code: One of PROTOCOL's failure codes, e.g. `provider_overloaded`.
        message: A sentence that clients may see; it holds no key and no URL with credentials. It is cut to
            `MESSAGE_CHARS` and has no control characters, because it goes to logs, terminals and pages.
        retry: Whether to try again: `safe` (surely not billed), `ambiguous` (may have been billed) or `never`.
        retry_after_s: The provider's Retry-After in seconds, if it sent one.
        is_refusal: Whether the call was refused before it could be billed.
    """

    def __init__(
        self,
        code: str,
        message: str,
        retry: Literal["safe", "ambiguous", "never"] = "never",
        retry_after_s: float | None = None,
        *,
        is_refusal: bool = False,
    ) -> None:
        self.code = brief(code, MESSAGE_CHARS)
        self.message = brief(message, MESSAGE_CHARS)
        super().__init__(f"{self.code}: {self.message}")
        self.retry = retry
        self.retry_after_s = retry_after_s
        self.is_refusal = is_refusal
