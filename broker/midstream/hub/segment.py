"""A run of a stream's entries in memory, with the frames made of them so far."""

from bisect import bisect_right
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from midstream.faces.face import Face
from midstream.hub.deflate import deflated
from midstream.log.entries import Stored
from midstream.log.merging import merge

_OFFSET: Final = attrgetter("offset")

SEGMENT_ENTRIES: Final = 256
"""Entries of one segment."""
MERGED_SHARE: Final = 8
"""A full segment is sent in merged entries if at most one in so many of its entries is left."""
OVERHEAD_BYTES: Final = 176
"""What an entry costs besides its content: its three objects, what they are rounded up to, and a part of idle memory.

They take 162. The rest, here and of a frame, is what keeps a process that also starts and ends streams within its
limit, as `python -m scripts.benchmarks.window` measures it: blocks that are too scattered to be used again.
"""
FRAME_BYTES: Final = 54
"""What a face's frame of an entry costs besides its own bytes: the object and its place in a list, of which 50."""

TEXT_BYTES: Final = 105
"""What the state of a face that remembers text holds of an entry besides its bytes: a string, and a rope's tuple.

Measured for 20 bytes of text: 125 for Responses and messages, nothing for the others.
"""


def index_of(offset: int) -> int:
    """Return which segment an offset belongs to."""
    return (offset - 1) // SEGMENT_ENTRIES


def start_of(index: int) -> int:
    """Return a segment's first offset."""
    return index * SEGMENT_ENTRIES + 1


class NotInMemory(Exception):
    """A segment has to be read from the log first."""

    def __init__(self, index: int) -> None:
        super().__init__(f"segment {index} is not in memory")
        self.index = index


class Segment:
    """The entries of segment `index`, from `first` on, as far as there are any.

    `first` is the segment's own beginning unless the log was trimmed in its middle; `last` is the last offset it
    holds, `first - 1` while empty.

    Each face's frame of an entry is made once, for all tails together. The window that keeps the segment sets `grown`,
    which is called with the bytes of all that is added, entries and frames alike.
    """

    __slots__ = ("_framings", "_merged", "entries", "first", "grown", "index", "last", "size_bytes")

    def __init__(self, index: int, first: int | None = None) -> None:
        self.index = index
        self.first = start_of(index) if first is None else first
        self.last = self.first - 1
        self.entries: list[Stored] = []
        self.size_bytes = 0
        self.grown: Callable[[int], None] | None = None
        self._framings: dict[Face[Any], _Framing] = {}
        self._merged: tuple[int, list[Stored]] = (0, [])  # of so many entries

    def entry_at(self, offset: int) -> Stored | None:
        """Return the entry at an offset; None if it is not here."""
        return self.entries[offset - self.first] if self.first <= offset <= self.last else None

    def extend(self, entries: list[Stored]) -> None:
        """Take the next entries."""
        last = self.last + len(entries)
        assert (entries[0].offset, entries[-1].offset) == (self.last + 1, last)  # noqa: S101 - I1, where it is read
        self.entries += entries
        self.last = last
        self._grow(sum([len(content) for _, _, content in entries]) + OVERHEAD_BYTES * len(entries))

    def frames(self, face: Face[Any], before: Any, after: int, upto: int) -> list[bytes]:
        """Return the frames of the offsets after `after` up to `upto`, both within the segment.

        `before` is the face's state before the segment's first entry.
        """
        return self._framing(face, before).frames[after + 1 - self.first : upto + 1 - self.first]

    def deflated(self, face: Face[Any], after: int, upto: int) -> bytes | None:
        """Return frames that were made before, deflated; that of a whole segment is kept. None: they are not here."""
        framing = self._framings.get(face)
        if framing is None or not self.first <= after + 1 <= upto <= self.last:
            return None
        if after + 1 > self.first or upto < start_of(self.index + 1) - 1:
            return deflated(b"".join(framing.frames[after + 1 - self.first : upto + 1 - self.first]))
        if framing.run is None:
            framing.run = deflated(b"".join(framing.frames))
            self._grow(FRAME_BYTES + len(framing.run))
        return framing.run

    def merged(self, after: int, upto: int) -> list[Stored]:
        """Return what the offsets after `after` up to `upto` hold, both within the segment, in merged entries.

        Those of the whole segment are kept for all tails. Only those that `after` and `upto` cut are made anew.
        """
        merged = self._whole_merged()
        begin, end = (bisect_right(merged, offset, key=_OFFSET) for offset in (after, upto))
        if begin == end:
            return merge(self._between(after, upto))
        before, last = merged[begin - 1].offset if begin else self.first - 1, merged[end - 1].offset
        if before < after:
            front, begin = merge(self._between(after, merged[begin].offset)), begin + 1
            return front + merged[begin:end] + merge(self._between(last, upto))
        return merged[begin:end] + merge(self._between(last, upto))

    def _between(self, after: int, upto: int) -> list[Stored]:
        return self.entries[after + 1 - self.first : upto + 1 - self.first]

    def _whole_merged(self) -> list[Stored]:
        """Return the whole segment in merged entries. As it grows, only what is new is merged with the last one."""
        count, merged = self._merged
        if count < len(self.entries):
            longer = merged[:-1] + merge(merged[-1:] + self.entries[count:])
            self._merged = (len(self.entries), longer)
            self._grow(_merged_bytes(longer) - _merged_bytes(merged))
            merged = longer
        return merged

    @property
    def merges_little(self) -> bool:
        """Whether it is full, and merging leaves so much of it that its frames, which all tails share, cost less."""
        count = len(self.entries)
        return count == SEGMENT_ENTRIES and len(self._whole_merged()) > count // MERGED_SHARE

    @property
    def text_bytes(self) -> int:
        """What the state of a face that remembers text holds of this segment, at most."""
        return self._text_bytes(self.entries)

    def state_after(self, face: Face[Any], before: Any) -> Any:
        """Return the face's state after the segment's last entry."""
        return self._framing(face, before).state

    def _framing(self, face: Face[Any], before: Any) -> "_Framing":
        framing = self._framings.get(face)
        if framing is None:
            framing = self._framings[face] = _Framing(before)
            self._grow(face.size_bytes)
        made = framing.frames
        if len(made) < len(self.entries):
            size_bytes = 0
            news = self.entries[len(made) :]
            for entry in news:
                frame, framing.state = face.frame(entry, framing.state)
                made.append(frame)
                size_bytes += FRAME_BYTES + len(frame)
            if face.remembers_text:
                size_bytes += self._text_bytes(news)
            self._grow(size_bytes)
        return framing

    @staticmethod
    def _text_bytes(entries: list[Stored]) -> int:
        return sum([len(content) for _, _, content in entries]) + TEXT_BYTES * len(entries)

    def _grow(self, by_bytes: int) -> None:
        self.size_bytes += by_bytes
        if self.grown is not None:
            self.grown(by_bytes)


def _merged_bytes(merged: list[Stored]) -> int:
    """Return what merged entries take, at most: those that stand for themselves are the segment's own."""
    return sum([len(content) for _, _, content in merged]) + OVERHEAD_BYTES * len(merged)


class _Framing:
    """What one face has made of a segment so far."""

    __slots__ = ("frames", "run", "state")

    def __init__(self, state: Any) -> None:
        self.state = state
        self.frames: list[bytes] = []
        self.run: bytes | None = None  # all of them deflated, once the segment is full
