"""The segments that a process keeps in memory, bounded in total."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from midstream.hub.segment import Segment, index_of, start_of
from midstream.log.entries import Stored

CHUNKS_SHARE: Final = 4
"""Chunks take at most one part in so many of the window, or one chunk where that is more."""


class ChunkHolder(Protocol):
    """A stream's frames, which keep chunks."""

    def drop_chunks(self) -> None:
        """Drop the chunks, and tell the window by `Window.drop_chunks`."""
        ...


class Window:
    """What a process keeps of all streams that it follows, at most about `limit_bytes`.

    That is their segments with the frames made of them, least recently used first out; the chunks that are being sent,
    which are all dropped when there is no more room for them; and what faces remember of a stream, which stays as
    long as the stream is followed, so that segments yield to it. One segment is kept in any case.

    Attributes:
        size_bytes: What all of that takes.
        hits: How many segments were asked for that were in memory.
        misses: How many were not.
        spare: Drops the memory of a stream that nobody reads, and returns False if there is none.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chunk_bytes = 0
        self._chunk_holders: set[ChunkHolder] = set()
        self._segments: OrderedDict[tuple[str, int], Segment] = OrderedDict()
        self._by_stream: dict[str, set[int]] = {}
        self.size_bytes = 0
        self.hits = 0
        self.misses = 0
        self.spare: Callable[[], bool] = lambda: False

    def get(self, stream_id: str, index: int) -> Segment | None:
        """Return a segment if it is in memory."""
        key = (stream_id, index)
        segment = self._segments.get(key)
        if segment is None:
            self.misses += 1
        else:
            self.hits += 1
            self._segments.move_to_end(key)
        return segment

    def extend(self, stream_id: str, entries: list[Stored]) -> None:
        """Keep a stream's next entries, which may belong to several segments.

        A segment whose beginning is not in memory is not begun in its middle: its entries are read from the
        log when somebody asks for them.
        """
        while (index := index_of(entries[0].offset)) != index_of(entries[-1].offset):
            room = start_of(index + 1) - entries[0].offset
            self._extend(stream_id, index, entries[:room])
            entries = entries[room:]
        self._extend(stream_id, index, entries)

    def _extend(self, stream_id: str, index: int, entries: list[Stored]) -> None:
        segment = self._segments.get((stream_id, index))
        if segment is None:
            if entries[0].offset != start_of(index):
                return
            segment = Segment(index)
            self.put(stream_id, segment)
        if segment.last + 1 == entries[0].offset:
            segment.extend(entries)

    def put(self, stream_id: str, segment: Segment) -> None:
        """Keep a segment, unless as much of it or more is here: it may have grown while it was read."""
        key = (stream_id, segment.index)
        present = self._segments.get(key)
        if present is not None:
            if present.entries and present.first <= segment.first and present.last >= segment.last:
                return
            self._let_go(present)
            del self._segments[key]
        self._segments[key] = segment
        segment.grown = self.grow
        self._by_stream.setdefault(stream_id, set()).add(key[1])
        self.grow(segment.size_bytes)

    def forget(self, stream_id: str) -> None:
        """Drop all of a stream's segments."""
        for index in self._by_stream.pop(stream_id, ()):
            self._let_go(self._segments.pop((stream_id, index)))

    def keep_chunk(self, holder: ChunkHolder, size_bytes: int, replaced_bytes: int) -> None:
        """Make room for a chunk in the place of another one; the holder puts it there next."""
        by_bytes = size_bytes - replaced_bytes
        if self._chunk_bytes + by_bytes > self._limit_bytes // CHUNKS_SHARE:
            for each in tuple(self._chunk_holders):
                each.drop_chunks()
            by_bytes = size_bytes  # the one in its place has been dropped with the others
        self._chunk_holders.add(holder)
        self._chunk_bytes += by_bytes
        self.grow(by_bytes)

    def drop_chunks(self, holder: ChunkHolder, size_bytes: int) -> None:
        """Know that a holder has dropped all of its chunks."""
        self._chunk_holders.discard(holder)
        self._chunk_bytes -= size_bytes
        self.size_bytes -= size_bytes

    def grow(self, by_bytes: int) -> None:
        """Count so much more, and drop segments as far as that is too much; first those that nobody reads."""
        self.size_bytes += by_bytes
        while by_bytes > 0 and self.size_bytes > self._limit_bytes:
            if self.spare():
                continue
            if len(self._segments) <= 1:
                break
            (stream_id, index), segment = self._segments.popitem(last=False)
            self._let_go(segment)
            indexes = self._by_stream[stream_id]
            indexes.discard(index)
            if not indexes:
                del self._by_stream[stream_id]

    def _let_go(self, segment: Segment) -> None:
        segment.grown = None
        self.size_bytes -= segment.size_bytes
