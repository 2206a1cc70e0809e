"""Reads a generation that goes on without us, over as many connections as it takes (PROTOCOL: Recovery/In place)."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from midstream.attempts.delta import Delta, Other, SourceError, Text, Upstream

CUTS: Final = frozenset(
    (
        "provider_disconnected",
        "provider_incomplete",
        "provider_unreachable",
        "provider_overloaded",
        "provider_rate_limited",
        "provider_error",
    )
)
"""The codes of failures that may be those of a connection alone."""

Verdict = Literal["fails", "is_streamed", "is_stored"]
"""What a generation does after a connection to it has failed: its stream can be read again, or only what is stored."""


@dataclass(slots=True)
class Progress:
    """How far one generation has been read.

    Attributes:
        resumable: Whether it goes on without us.
        id: Its name at the provider; empty: not known yet.
        cursor: The position up to which everything was delivered; None: there is none yet.
        text: All texts up to there.
        over: The generation itself has ended, well or badly, so there is nothing more to read.
    """

    resumable: bool
    id: str = ""
    cursor: int | None = None
    text: list[str] = field(default_factory=list)
    over: bool = False

    def note(self, delta: Delta) -> None:
        """Take in what was delivered."""
        if isinstance(delta, Upstream):
            self.id, self.cursor = delta.id, delta.cursor
        elif isinstance(delta, Text):
            self.text.append(delta.text)

    def upstream(self) -> Upstream:
        """Return what is delivered as a sign of life: the generation can still be read on from here."""
        return Upstream(self.id, resumable=True, cursor=self.cursor)


P = TypeVar("P", bound=Progress)


class Reattaching(ABC, Generic[P]):
    """What sources of such generations share; how one connection is read is for each of them to know.

    Args:
        pauses_s: Pauses before each new connection to a generation whose last one was cut; a connection that brings
            something starts them over.
    """

    def __init__(self, pauses_s: tuple[float, ...]) -> None:
        self._pauses_s = pauses_s

    @abstractmethod
    def _read(self, call: Awaitable[Any], progress: P) -> AsyncGenerator[Delta]:
        """Yield what one connection brings; it raises `SourceError` unless the generation has ended well."""

    @abstractmethod
    def _again(self, upstream_id: str) -> Awaitable[Any]:
        """Return the call that streams a generation from its start."""

    @abstractmethod
    async def _judge(self, progress: P, error: SourceError, *, is_last: bool) -> Verdict:
        """Judge a failure of the connection; `is_last`: no further one is made without anything new."""

    @abstractmethod
    def _poll(self, progress: P) -> AsyncGenerator[Delta]:
        """Wait for the generation's end and yield what is stored of it beyond what was delivered."""

    async def _read_to_the_end(self, call: Awaitable[Any], progress: P) -> AsyncGenerator[Delta]:
        """Yield a generation's deltas, beginning with those that this call brings."""
        tries = 0
        while True:
            cursor = progress.cursor
            try:
                async with aclosing(self._read(call, progress)) as deltas:
                    async for delta in deltas:
                        progress.note(delta)
                        yield delta
            except SourceError as error:
                tries = 0 if progress.cursor != cursor else tries
                verdict = await self._judge(progress, error, is_last=tries == len(self._pauses_s))
                if verdict == "fails":
                    raise
                reason = error.code
            else:
                return
            if verdict == "is_stored":
                break
            yield Other("status", {"state": "reattaching", "reason": reason, "paid": False})
            yield progress.upstream()
            await asyncio.sleep(self._pauses_s[tries])
            tries += 1
            call = self._again(progress.id)
        async with aclosing(self._poll(progress)) as deltas:
            async for delta in deltas:
                yield delta
