"""Reads deltas a second time, and yields those that the first reading has not delivered.

Gemini names its events by opaque ids, and our cursor is a number. So the position counts what the deltas bring: the
characters of texts and arguments, and one for each other delta. It does not depend on how the provider divides a text
into events, and a second reading may divide it otherwise.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from midstream.attempts.delta import Delta, Finish, Reasoning, SourceError, Text, ToolCall, ToolInput, Usage


class Replay:
    """Drops what was delivered of one generation, which is read from its start.

    Args:
        after: The position up to which everything was delivered.
        delivered_text: All `Text` up to there, joined.

    Attributes:
        position: Where the reading is, or `after` while it has not come so far.
    """

    def __init__(self, after: int, delivered_text: str) -> None:
        self.position = after
        self._left = after
        self._delivered = delivered_text
        self._text = ""
        self._called = False
        self._caught_up = not after and not delivered_text

    def read(self, deltas: Iterable[Delta]) -> Iterator[Delta]:
        """Yield the deltas that are new.

        Raises:
            SourceError: `reattach_mismatch`: the generation does not go on from what was delivered.
        """
        for delta in deltas:
            if self._caught_up:
                self.position += _size(delta)
                yield delta
            elif isinstance(delta, (Usage, Finish)):
                # It has ended before the position, so something else than the text has become shorter.
                yield from self._go_on_by_text()
                yield delta
            else:
                yield from self._drop(delta)

    def _drop(self, delta: Delta) -> Iterator[Delta]:
        self._called |= isinstance(delta, (ToolInput, ToolCall))
        if isinstance(delta, Text):
            self._text += delta.text
        is_before = self._left > 0
        self._left -= _size(delta)
        if self._left > 0:
            return
        rest = _end_of(delta, -self._left) if is_before else None
        new_text = rest.text if isinstance(rest, Text) else ""
        if is_before and self._delivered == self._text.removesuffix(new_text):
            self._caught_up = True
            if rest is not None:
                self.position += _size(rest)
                yield rest
        elif self._called or len(self._text) >= len(self._delivered):
            yield from self._go_on_by_text()

    def _go_on_by_text(self) -> Iterator[Delta]:
        """Yield the text beyond the delivered one. Which calls were delivered is unknown, and none may come twice."""
        if self._called or not self._text.startswith(self._delivered):
            why = "The answer at the provider does not go on from what was delivered."
            raise SourceError("reattach_mismatch", why)
        self._caught_up = True
        if missing := self._text.removeprefix(self._delivered):
            self.position += len(missing)
            yield Text(missing)


def _size(delta: Delta) -> int:
    match delta:
        case Text(words) | Reasoning(words) | ToolInput(delta=words):
            return len(words)
        case Usage() | Finish():
            return 0
    return 1


def _end_of(delta: Delta, length: int) -> Delta | None:
    """Return the last characters of a delta; None: it is to have none."""
    if not length:
        return None
    match delta:
        case Text(words) | Reasoning(words):
            return replace(delta, text=words[-length:])
        case ToolInput(delta=words):
            return replace(delta, delta=words[-length:])
    raise AssertionError(delta)  # every other delta counts as one, so nothing of it is left
