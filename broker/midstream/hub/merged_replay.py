"""A follower as a tail sees it that is sent what was logged before it came in merged entries (Read/Coalesced)."""

from typing import Any, Final

from midstream.faces.face import MergingFace
from midstream.hub.frames import CHUNK_BYTES, Frames
from midstream.hub.reader import LogReader, Readable
from midstream.hub.segment import index_of, start_of
from midstream.hub.tail import Tail
from midstream.log.entries import Stored
from midstream.log.merging import merge

FRAMING_BYTES: Final = 64
"""What a frame adds to the content of an entry, roughly."""


class MergedReplay:
    """Shows one tail the log up to an offset in merged entries. After that the tail reads through the follower itself.

    It does so from the start, too, if the log was found rewritten meanwhile.

    Args:
        follower: What is read.
        face: The tail's wire format.
        upto: The log's tail when the tail joined.

    Attributes:
        tail: The tail that reads through it.
    """

    tail: Tail

    def __init__(self, follower: LogReader, face: MergingFace[Any], upto: int) -> None:
        self.stream_id = follower.stream_id
        self.lagging = follower.lagging
        self._follower = follower
        self._face = face
        self._upto = upto
        self._history = follower.frames.histories
        self._gathering: _Gathering | None = None
        self._shared_upto = 0  # the last offset of a segment that merges little, once one was met

    @property
    def sync(self) -> Readable:
        """As of the follower."""
        return self._follower.sync

    @property
    def frames(self) -> "MergedReplay":
        """What the tail is sent."""
        return self

    def chunk(self, face: MergingFace[Any], after: int, target: int) -> tuple[bytes, int]:
        """Return frames of the entries after `after`, at most up to `target`, and the last offset in them.

        Raises:
            NotInMemory: An entry has to be read from the log first. What was gathered until then is not read again.
        """
        frames = self._follower.frames
        if after >= self._upto or frames.histories != self._history:
            self.tail.read_through(self._follower)
            return frames.chunk(face, after, target)
        target = min(target, self._upto)
        chunk, last = frames.merged_chunk((face, after, target)) or self._made(after, target)
        if last >= self._upto:
            self.tail.read_through(self._follower)
        return chunk, last

    def deflated(self, chunk: bytes) -> bytes:
        """As of the follower."""
        return self._follower.frames.deflated(chunk)

    def _made(self, after: int, target: int) -> tuple[bytes, int]:
        frames, face, gathering = self._follower.frames, self._face, self._gathering
        if after < self._shared_upto:
            return frames.chunk(face, after, min(target, self._shared_upto))
        if gathering is None or gathering.after != after or gathering.is_between_chunks:
            segment = frames.segment_after(after)
            if segment.merges_little:
                self._shared_upto = segment.last
                return frames.chunk(face, after, min(target, segment.last))
        if gathering is None or gathering.after != after:
            gathering = self._gathering = _Gathering(frames, face, after)
        chunk, last = gathering.chunk(target)
        frames.keep_merged_chunk((face, after, target), chunk, last)
        return chunk, last

    def load(self, index: int, tail: Tail) -> None:
        """As of the follower."""
        self._follower.load(index, tail)

    def leave(self, tail: Tail) -> None:
        """As of the follower; the tail holds this no more, so that neither waits for the garbage collector."""
        tail.read_through(self._follower)
        self._follower.leave(tail)


def merged_replay(
    follower: LogReader, face: MergingFace[Any], after: int, until: int | None, mark: tuple[int, bytes] | None
) -> Tail:
    """Return a tail that is sent in merged entries what is logged now, and then the others one by one."""
    upto = follower.sync.tail
    if after == upto:
        return Tail(follower, face, after, until, mark)
    reader = MergedReplay(follower, face, upto)
    reader.tail = Tail(reader, face, after, until, mark)
    return reader.tail


class _Gathering:
    """Gathers entries, and frames them. What it holds takes about a chunk, however long the log is.

    A face that remembers something has a state after `after`, which is made of what comes before. It goes the same
    way, unsent. Its state before the segment in which the tail goes on is kept, because it would otherwise be made
    there of all earlier entries one by one.

    It stops before a segment that merges little, unless it is only on its way to `after`.

    Attributes:
        after: The offset after which the next chunk begins.
    """

    def __init__(self, frames: Frames, face: MergingFace[Any], after: int) -> None:
        self.after = after
        self._frames = frames
        self._face = face
        self._framed, self._state = frames.state_up_to(face, after)
        self._gathered = self._framed
        self._entries: list[Stored] = []
        self._size_bytes = 0

    def chunk(self, target: int) -> tuple[bytes, int]:
        """Return the frames of the next entries up to `target`, as far as they fit, and the last offset in them.

        Raises:
            NotInMemory: An entry has to be read from the log first; the next call goes on there.
        """
        boundary = start_of(index_of(target + 1)) - 1
        for stop in sorted((min(boundary, self.after), self.after)):
            while self._framed < stop:
                self._gather(stop)
                self._frame()
            self._keep_state(boundary)
        self._gather(min(boundary, target))
        self._keep_state(boundary)
        self._gather(target)
        chunk = self._frame()
        self.after = self._framed
        return chunk, self._framed

    @property
    def is_between_chunks(self) -> bool:
        """Whether it has come to `after`, and has gathered nothing of what comes next."""
        return self._framed == self.after and not self._entries

    def _gather(self, upto: int) -> None:
        while self._gathered < upto and self._size_bytes < CHUNK_BYTES:
            segment = self._frames.segment_after(self._gathered)
            if self._framed == self.after and self._entries and segment.merges_little:
                return
            for entry in segment.merged(self._gathered, min(segment.last, upto)):
                self._entries.append(entry)
                self._gathered = entry.offset
                self._size_bytes += len(entry.content) + FRAMING_BYTES
                if self._size_bytes >= CHUNK_BYTES:
                    break

    def _frame(self) -> bytes:
        frames, self._state = self._fold()
        self._framed = self._gathered
        self._entries.clear()
        self._size_bytes = 0
        return b"".join(frames)

    def _keep_state(self, boundary: int) -> None:
        if self._gathered == boundary and self._state is not None:
            self._frames.keep_state(self._face, index_of(boundary + 1), self._fold()[1])

    def _fold(self) -> tuple[list[bytes], Any]:
        """Return the frames of what is gathered, and the state after it."""
        frames, last, state = [], self._framed, self._state
        for entry in merge(self._entries):
            frame, state = self._face.merged_frame(last + 1, entry, state)
            frames.append(frame)
            last = entry.offset
        return frames, state
