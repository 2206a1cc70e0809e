"""The one shape that every upstream dialect is brought to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from worker.sources.deltas import Delta


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to generate: the model's name without its provider prefix, chat messages, provider params."""

    model: str
    messages: list[dict[str, Any]]
    params: dict[str, Any]


class Source(Protocol):
    """Yields one generation's deltas. One instance serves any number of generations at once."""

    paid: bool
    """Whether opening a generation may cost money: then a durable intent is written first."""

    resumable: bool
    """Whether `reattach` can go on reading a generation that another process started."""

    def open(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """Make the one upstream call and yield its deltas.

        Closing the iterator closes the upstream connection. Never retries by itself.

        Raises:
            SourceError: From the iterator, for every way in which the upstream can fail.
        """
        ...

    def reattach(self, upstream_id: str, after: int | None) -> AsyncIterator[Delta]:
        """Go on reading the generation `upstream_id` behind its position `after`; makes no paid call.

        Raises:
            SourceError: As in `open`; code `reattach_unsupported` where `resumable` is false.
        """
        ...

    async def cancel(self, upstream_id: str) -> None:
        """Ask the provider to stop a generation that goes on without us; a no-op where it cannot."""
        ...

    async def aclose(self) -> None:
        """Close the source's connections."""
        ...
