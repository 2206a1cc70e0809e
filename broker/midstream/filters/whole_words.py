"""Lets an attempt's text through in whole words or sentences, for as long as they come (PROTOCOL: Chunking/Modes)."""

import asyncio
import contextlib
from typing import Final

from midstream.attempts.delta import Delta, Reasoning, SourceError, Text
from midstream.attempts.writer import Writer
from midstream.filters.breaks import Mode, chunker, forced_break
from midstream.filters.filter import FilterContext, NamedFilter
from midstream.filters.filter_stage import FilterStage

UNBOUNDED: Final = 2**53
"""The chunker has a bound of its own, beyond which it divides."""


class WholeWords:
    """Takes deltas as a writer does, and hands it text that ends where a word or a sentence ends.

    Args:
        writer: Takes what goes on.
        mode: What is kept whole.
        hold_bytes: Most bytes that wait for the rest of a word.
        hold_s: Longest time that they wait.
    """

    def __init__(self, writer: Writer, mode: Mode, hold_bytes: int, hold_s: float) -> None:
        self._writer = writer
        self._stage = FilterStage(
            NamedFilter(mode, chunker(mode, hold_bytes)),
            FilterContext("", "", "", {}, keeps_text=False),
            UNBOUNDED,
            1.0,
        )
        self._hold_s = hold_s
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._release: asyncio.Task[None] | None = None
        self._error: SourceError | None = None

    async def put(self, delta: Delta) -> None:
        """Take a delta; raises as `Writer.put`."""
        async with self._lock:
            if self._error is not None:
                raise self._error
            for out in await self._stage.take(delta):
                self._disarm()
                await self._writer.put(out)
            if self._stage.held is None:
                self._disarm()
            elif self._timer is None:
                self._arm()

    async def close(self, *, writes: bool) -> None:
        """Let no more through by itself; with `writes`, let what waits through now."""
        self._disarm()
        if self._release is not None:
            self._release.cancel()
            await asyncio.wait((self._release,))
        if writes:
            with contextlib.suppress(SourceError):
                for out in self._stage.let_go():
                    await self._writer.put(out)

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._hold_s, self._overdue)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _overdue(self) -> None:
        self._timer = None
        self._release = asyncio.create_task(self._release_some(), name="release of a part of a word")

    async def _release_some(self) -> None:
        async with self._lock:
            held = self._stage.held
            if not isinstance(held, Text | Reasoning):
                return
            try:
                at = forced_break(held.text)
                for out in self._stage.release(at):
                    await self._writer.put(out)
                if forced_break(held.text[at:]):  # of a sentence, the last word goes on waiting
                    self._arm()
            except SourceError as error:
                self._error = error  # the next delta hears of it
