"""Matches what an app yields again with what the log holds, so that none is written twice (PROTOCOL: Step/Replay)."""

from collections.abc import Iterable
from typing import Final

from midstream.attempts.delta import Delta, Finish, Other, Reasoning, Text, Upstream
from midstream.attempts.delta_entry import entry_of
from midstream.log.entries import END, REASONING, RESET, START, STATUS, STEP, TEXT, Entry, encode

_NOT_YIELDED: Final = frozenset((START, STATUS, STEP, END))
_TEXTS: Final = (TEXT, REASONING)
CHANGED: Final = "changed"


class Replay:
    """Takes what an app yields, and returns what of it is still to be written.

    As long as the app yields what is logged, that is nothing. When it yields something else, that is a `reset`, all
    that was the same, and what is new: most clients cannot take back a part of an answer.

    Args:
        entries: What the log holds.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._logged: list[Entry] = []
        for entry in entries:
            if entry.type == RESET:
                self._logged.clear()
            elif entry.type in _NOT_YIELDED:
                continue
            elif entry.type in _TEXTS and self._logged and self._logged[-1].type == entry.type:
                self._logged[-1] = Entry(entry.type, {"text": self._logged[-1].text + entry.text})
            else:
                self._logged.append(Entry(entry.type, entry.data))
        self._at = 0
        self._chars = 0  # of the entry there, if it is a text

    def take(self, delta: Delta) -> list[Delta]:
        """Return what is to be written because the app has yielded this."""
        if self._at == len(self._logged):
            return [delta]
        match delta:
            case Upstream():
                return [delta]
            case Finish():
                return [*self._anew(), delta]
            case Text() | Reasoning():
                return self._take_text(delta)
            case Other(type="status"):
                return []  # it says nothing of the answer, and clients know what the app is about to do again
        entry, there = entry_of(delta), self._logged[self._at]
        if not self._chars and encode(entry) == encode(there):
            self._at += 1
            return []
        return [*self._anew(), delta]

    def _take_text(self, delta: Text | Reasoning) -> list[Delta]:
        rest, there = delta.text, self._logged[self._at]
        left = there.text[self._chars :]
        same = min(len(left), len(rest))
        if there.type == entry_of(delta).type and left[:same] == rest[:same]:
            rest = rest[same:]
            self._chars += same
            if self._chars == len(there.text):
                self._at, self._chars = self._at + 1, 0
        new: list[Delta] = [type(delta)(rest)] if rest else []
        return [*self._anew(), *new] if new and self._at < len(self._logged) else new

    def _anew(self) -> list[Delta]:
        """Return a reset and all that was the same, and expect nothing any more."""
        same = [Other(entry.type, entry.data) for entry in self._logged[: self._at]]
        if self._chars:
            there = self._logged[self._at]
            same.append(Other(there.type, {"text": there.text[: self._chars]}))
        self._logged, self._at, self._chars = [], 0, 0
        return [Other(RESET, {"reason": CHANGED}), *same]
