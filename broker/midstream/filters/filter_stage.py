"""One filter at work: it keeps what the filter holds back, checks what it returns, and bounds both."""

import asyncio
import inspect
import logging
from collections.abc import Iterable, Mapping
from typing import Final

from midstream.attempts.app_items import UnfitItemError, checked
from midstream.attempts.delta import Delta, Other, Reasoning, SourceError, Text, ToolCall, ToolInput, Upstream
from midstream.attempts.surrogates import joined
from midstream.filters.filter import Blocked, FilterContext, Hold, NamedFilter, Run, string_of, with_string
from midstream.log.entries import RESET, STATUS

logger = logging.getLogger(__name__)

FAILED: Final = "filter_failed"
TIMEOUT: Final = "filter_timeout"


class FilterStage:
    """Takes deltas and returns what a filter has made of them, in order.

    A position of the upstream (`Upstream` with a cursor) stands for all before it. It goes on when all that was before
    it has gone on, and never when only a part has: a re-attachment would lose the rest.

    Args:
        filter_: The filter.
        context: What it is told.
        hold_bytes: Most bytes that it may hold back.
        timeout_s: Longest time of one of its calls.

    Attributes:
        name: The filter's name.
        context: What it is told.
        held: What it holds back now.
    """

    def __init__(self, filter_: NamedFilter, context: FilterContext, hold_bytes: int, timeout_s: float) -> None:
        self.name = filter_.name
        self.held: Run | None = None
        self._call = filter_.call
        self.context = context
        self._hold_bytes = hold_bytes
        self._timeout_s = timeout_s
        self._marks: list[tuple[int, Upstream]] = []  # positions within what is held

    async def take(self, delta: Delta) -> list[Delta]:
        """Return what goes on now.

        Raises:
            Blocked: The filter stops the answer.
            SourceError: `filter_failed` or `filter_timeout`.
        """
        if isinstance(delta, Upstream) and (self.held is None or delta.cursor is None):
            return [delta]
        if isinstance(delta, Upstream):
            assert self.held is not None  # noqa: S101
            self._marks.append((len(string_of(self.held)), delta))
            return []
        before: list[Delta] = []
        if self.held is not None:
            if isinstance(delta, Run) and _goes_on(self.held, delta):
                delta = with_string(self.held, string_of(self.held) + string_of(delta))
            else:
                before = await self._ask(self.held, is_last=True)
        if isinstance(delta, Other) and delta.type == RESET:
            self.context.forget()
        if not _is_content(delta):
            return [*before, delta]
        return before + await self._ask(delta, is_last=False)

    def let_go(self) -> list[Delta]:
        """Return what is held back, without another look of the filter."""
        held, self.held = self.held, None
        marks, self._marks = self._marks, []
        return [] if held is None else [held, *(mark for _, mark in marks[-1:])]

    def release(self, at: int) -> list[Delta]:
        """Return the first `at` characters of what is held back, without another look of the filter."""
        held = self.held
        if held is None or not at:
            return []
        self.held = with_string(held, string_of(held)[at:])
        return self._with_marks(held, [with_string(held, string_of(held)[:at])])

    async def _ask(self, delta: Delta, *, is_last: bool) -> list[Delta]:
        self.context.is_last = is_last
        outs, hold = self._sorted(await self._answer(delta), delta)
        if hold is not None and (is_last or not _goes_on(hold, delta)):
            why = "held back the end of a text" if is_last else "held back another text than it was called with"
            raise SourceError(FAILED, f"The filter {self.name} {why}.")
        if hold is not None and len(string_of(hold).encode(errors="replace")) > self._hold_bytes:
            raise SourceError(FAILED, f"The filter {self.name} held back more than MIDSTREAM_FILTER_HOLD_BYTES.")
        self.held = hold
        for out in outs:
            if isinstance(out, Text):
                self.context.add(out.text)
        return self._with_marks(delta, outs)

    async def _answer(self, delta: Delta) -> list[object]:
        """Return what the filter makes of a delta, unchecked."""
        task, limit = asyncio.current_task(), asyncio.timeout(self._timeout_s)
        try:
            answer = self._call(delta, self.context)
            if inspect.isawaitable(answer):
                async with limit:
                    answer = await answer
                if limit.expired():  # the filter has swallowed the cancellation
                    raise TimeoutError
            if answer is None:
                return []
            is_one = isinstance(answer, str | Mapping) or not isinstance(answer, Iterable)
            return [answer] if is_one else list(answer)
        except Blocked:
            raise
        # A filter that calls `sys.exit` ends only its own generation. Clients see our message, never the filter's.
        except (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:
            # A cancellation that is not ours comes from a task of the filter's own that it has waited for.
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            if isinstance(error, TimeoutError) and limit.expired():
                raise SourceError(TIMEOUT, f"The filter {self.name} took longer than {self._timeout_s:g} s.") from None
            logger.exception("the filter %s failed", self.name, extra={"stream": self.context.stream_id})
            raise SourceError(FAILED, f"The filter {self.name} raised {type(error).__name__}.") from None

    def _sorted(self, items: list[object], delta: Delta) -> tuple[list[Delta], Run | None]:
        """Return what a filter lets through, checked, and what it holds back."""
        hold: Run | None = None
        if items and isinstance(last := items[-1], Hold):
            items.pop()
            held = self._checked(last.delta)
            if not isinstance(held, Run):
                raise SourceError(
                    FAILED, f"The filter {self.name} held back a {type(held).__name__}, which is no text."
                )
            hold = held if string_of(held) else None
        outs: list[Delta] = []
        for item in items:
            # What is in a delta of another kind may have been changed where it is.
            out = item if item is delta and not isinstance(item, Other) else self._checked(item)
            if not isinstance(out, Text | Reasoning | ToolInput) or string_of(out):
                outs.append(out)
        return outs, hold

    def _checked(self, item: object) -> Delta:
        try:
            out = checked(item)
        except UnfitItemError as error:
            raise SourceError(FAILED, f"The filter {self.name} returned {error}.") from None
        if not _is_content(out):
            raise SourceError(FAILED, f"The filter {self.name} returned a {type(out).__name__}, which is no content.")
        return Text(joined(out.text)) if isinstance(out, Text) else out

    def _with_marks(self, delta: Delta, outs: list[Delta]) -> list[Delta]:
        """Put the last position that everything before it has gone on from into its place, where that can be told."""
        if not self._marks or not isinstance(delta, Run):
            return outs
        whole, kept = string_of(delta), "" if self.held is None else string_of(self.held)
        gone = len(whole) - len(kept)
        ready = [(at, mark) for at, mark in self._marks if at <= gone]
        self._marks = [(at - gone, mark) for at, mark in self._marks if at > gone]
        if not ready:
            return outs
        at, mark = ready[-1]
        match outs:
            case [Text() | Reasoning() | ToolInput() as out] if string_of(out) + kept == whole:
                return [with_string(out, whole[:at]), mark, *([with_string(out, whole[at:gone])] if at < gone else [])]
        # Within a text that the filter has changed, no place can be told.
        return [*outs, mark] if at == gone and whole.endswith(kept) else outs


def _is_content(delta: Delta) -> bool:
    if isinstance(delta, Other):
        return delta.type not in (RESET, STATUS)
    return isinstance(delta, Text | Reasoning | ToolInput | ToolCall)


def _goes_on(held: Run, delta: Delta) -> bool:
    """Tell whether a delta is a piece of the same text as the one that is held."""
    if isinstance(held, ToolInput):
        return isinstance(delta, ToolInput) and delta.id == held.id
    return type(delta) is type(held)
