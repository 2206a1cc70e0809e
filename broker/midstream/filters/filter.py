"""What a filter is: a function between a source and the log (PROTOCOL: Filter/Function)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from midstream.attempts.delta import Reasoning, Text, ToolInput

REASON_CHARS = 500
"""Longest reason of a stop; the rest is cut."""

Run = Text | Reasoning | ToolInput
"""Deltas that are pieces of one text: neighbours of one type (and of one call) continue each other."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The end of a text that a filter keeps back; its next call begins with it."""

    delta: Run


class Blocked(Exception):
    """Raised by a filter: the answer ends here, with the finish reason `content_filter`. Clients see the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class FilterContext:
    """What one filter is told of the generation, the same object at each of its calls.

    Attributes:
        stream_id: The stream's id.
        tenant: Whose stream it is.
        model: `provider/name`.
        metadata: The request's.
        is_last: Whether the text that it is called with ends here, so that nothing may be held back.
        memory: The filter's own, for this attempt.
        keeps_text: Whether there is a `text`, which takes memory.
    """

    stream_id: str
    tenant: str
    model: str
    metadata: Mapping[str, str]
    is_last: bool = False
    memory: dict[str, Any] = field(default_factory=dict)
    keeps_text: bool = True
    _pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The answer so far: what is on the log of earlier attempts, and what the filter has let through since."""
        if len(self._pieces) > 1:
            self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def add(self, piece: str) -> None:
        """Add a piece that was let through."""
        if self.keeps_text:
            self._pieces.append(piece)

    def forget(self) -> None:
        """Begin anew: a reset has taken the answer back."""
        self._pieces.clear()


Filter = Callable[[Any, FilterContext], Any]
"""Is called with a delta of content. It returns what goes on: a delta, several, or None; as the last maybe a `Hold`."""


@dataclass(frozen=True, slots=True)
class NamedFilter:
    """A filter, and the name by which operators and clients know it."""

    name: str
    call: Filter


def string_of(delta: Run) -> str:
    """Return the string that a delta is a piece of."""
    return delta.delta if isinstance(delta, ToolInput) else delta.text


def with_string(delta: Run, string: str) -> Run:
    """Return the same delta with another string."""
    if isinstance(delta, ToolInput):
        return ToolInput(delta.id, delta.name, string)
    return type(delta)(string)
