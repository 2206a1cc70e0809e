"""The interface of a source: every upstream dialect is read through it."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from midstream.attempts.app_context import AppContext
from midstream.attempts.delta import Delta


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to generate: the model's name without its provider prefix, chat messages, provider params.

    `context` makes the context of an app, of its name and of what its lifespan has yielded.
    """

    model: str
    messages: list[dict[str, Any]]
    params: dict[str, Any]
    context: Callable[[str, Any], Awaitable[AppContext]] | None = None


class Source(Protocol):
    """Yields one generation's deltas. One instance serves any number of generations at once."""

    paid: bool
    """Whether opening a generation may cost money: then a durable intent is written first."""

    resumable: bool
    """Whether `reattach` can go on reading a generation that another process started."""

    replays: bool
    """Whether it is run again where it was cut, and not asked to continue (PROTOCOL: Step/Replay)."""

    def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas.

        Closing the iterator closes the upstream connection. Never retries by itself.

        Raises:
            SourceError: The iterator raises it for every way in which the upstream can fail.
        """
        ...

    def reattach(self, upstream_id: str, after: int | None, delivered_text: str) -> AsyncGenerator[Delta]:
        """Go on reading the generation `upstream_id` after the position `after`, without a paid call.

        Args:
            upstream_id: The id of the last `Upstream` that was stored.
            after: The cursor of the last `Upstream` that was stored; `None` reads from the start.
            delivered_text: All `Text` up to `after`, joined. An upstream that is too old to be streamed can only be
                read whole; the missing text is what comes after this.

        Raises:
            SourceError: As in `open`; code `reattach_unsupported` where `resumable` is false, and
                `reattach_mismatch` where the upstream's output does not go on from `delivered_text`.
        """
        ...

    async def cancel(self, upstream_id: str) -> None:
        """Ask the provider to stop a generation that goes on without us, if it can do so."""
        ...

    async def aclose(self) -> None:
        """Close the source's connections."""
        ...
