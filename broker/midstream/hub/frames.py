"""What the faces make of one stream: chunks of frames, and the states that are needed to begin in its middle."""

from typing import Any, Final, TypeVar

from midstream.faces.face import Face
from midstream.hub.deflate import deflated
from midstream.hub.log_sync import LogSync
from midstream.hub.segment import SEGMENT_ENTRIES, NotInMemory, Segment, index_of, start_of
from midstream.hub.window import Window
from midstream.log.entries import decode

CHUNK_BYTES: Final = 262_144
"""Size at which a chunk is handed to a sink rather than grown."""


_Chunk = tuple[tuple[int, int], bytes, int]
"""The span that a tail asked for, the frames that it was sent, and the last offset in them. Every tail looks at it."""

Span = tuple[Face[Any], int, int]
"""A face, and what a tail asks for: the entries after an offset, up to another one."""
State = TypeVar("State")


class Frames:
    """The frames of one stream, made of the segments in memory.

    `merged_replay.py` makes the chunks of those that are sent merged entries, of the same memory.

    The window counts all that is kept here. Each face's last chunk is kept until the next beat, or until the window
    wants its memory back. The state of a face before a segment is made of all earlier ones, so it is kept as long as
    the stream is followed; of a face that remembers text it holds that text, of others a few hundred bytes at most.

    Attributes:
        histories: How many histories of the stream there were here: another one when its log was found rewritten.
    """

    def __init__(self, sync: LogSync, window: Window) -> None:
        self.histories = 1
        self._sync = sync
        self._window = window
        self._chunks: dict[Face[Any], _Chunk] = {}
        self._latest: tuple[Face[Any], int, int, bytes, int] | None = None
        self._merged_chunks: dict[Span, tuple[bytes, int]] = {}
        self._latest_merged: bytes | None = None
        self._runs: dict[int, tuple[bytes, bytes]] = {}  # chunks, and what they are deflated, by the chunk's identity
        self._states: dict[tuple[Face[Any], int], Any] = {}  # of each face that remembers, before a segment
        self._text_bytes = 0

    def chunk(self, face: Face[Any], after: int, target: int) -> tuple[bytes, int]:
        """Return frames of the entries after `after`, at most up to `target`, and the last offset in them.

        Raises:
            NotInMemory: An entry has to be read from the log first; see `Follower.load`.
        """
        # Tails move in step, those that keep up and those that replay: the next one asks for the same span. Mostly it
        # is of the same face, too, which is told by identity: a face's hash costs more than all else here.
        latest = self._latest
        if latest is not None and latest[0] is face and latest[1] == after and latest[2] == target:
            return latest[3], latest[4]
        span = (after, target)
        chunk = self._chunks.get(face)
        if chunk is None or chunk[0] != span:
            replaced = chunk[1] if chunk else b""
            replaced_bytes = len(replaced) + len(self._runs.get(id(replaced), (b"", b""))[1])
            chunk = (span, *self._make(face, after, target))
            if len(chunk[1]) != replaced_bytes:
                self._window.keep_chunk(self, len(chunk[1]), replaced_bytes)
            self._runs.pop(id(replaced), None)
            self._chunks[face] = chunk
        self._latest = (face, after, target, chunk[1], chunk[2])
        return chunk[1], chunk[2]

    def _make(self, face: Face[Any], after: int, target: int) -> tuple[bytes, int]:
        parts: list[bytes] = []
        size_bytes = 0
        while after < target and size_bytes < CHUNK_BYTES:
            index = index_of(after + 1)
            before = self._state_before(face, index)  # first: to make it, segments may be read that this one yields to
            segment = self._window.get(self._sync.stream_id, index)
            if segment is None or not segment.first <= after + 1 <= segment.last:
                if parts:
                    break
                raise NotInMemory(index)
            upto = min(segment.last, target)
            frames = segment.frames(face, before, after, upto)
            frames_bytes = sum(map(len, frames))
            if size_bytes + frames_bytes > CHUNK_BYTES:
                frames = _up_to(frames, CHUNK_BYTES - size_bytes)
            parts += frames
            size_bytes += frames_bytes
            after += len(frames)
        return (parts[0] if len(parts) == 1 else b"".join(parts)), after

    def _state_before(self, face: Face[Any], index: int) -> Any:
        """Return a face's state before a segment, made from the nearest one before it that is kept."""
        state = face.begin()
        if state is None:
            return None
        nearest, state = self._nearest_state(face, index)
        for earlier in range(nearest, index):
            segment = self._window.get(self._sync.stream_id, earlier)
            if segment is None or segment.last + 1 < start_of(earlier + 1):
                raise NotInMemory(earlier)
            state = self._states[face, earlier + 1] = segment.state_after(face, state)
            if face.remembers_text:
                self._text_bytes += segment.text_bytes
                self._window.grow(segment.text_bytes)
        return state

    def state_up_to(self, face: Face[State], offset: int) -> tuple[int, State]:
        """Return the last offset, at most `offset`, after which a face's state is known; and that state.

        A face that remembers nothing has it everywhere.
        """
        if face.begin() is None:
            return offset, face.begin()
        nearest, state = self._nearest_state(face, index_of(offset + 1))
        return max(start_of(nearest), self._sync.first) - 1, state

    def _nearest_state(self, face: Face[State], index: int) -> tuple[int, State]:
        """Return the nearest segment up to `index` before which a face's state is kept, or the front; and the state."""
        nearest, front = index, index_of(self._sync.first)
        while nearest > front and (face, nearest) not in self._states:
            nearest -= 1
        return nearest, self._states.get((face, nearest), face.begin())

    def keep_state(self, face: Face[State], index: int, state: State) -> None:
        """Keep the state before a segment of a face that remembers no text."""
        self._states[face, index] = state

    def segment_after(self, offset: int) -> Segment:
        """Return the segment that holds the entry after an offset.

        Raises:
            NotInMemory: It has to be read from the log first.
        """
        index = index_of(offset + 1)
        segment = self._window.get(self._sync.stream_id, index)
        if segment is None or not segment.first <= offset + 1 <= segment.last:
            raise NotInMemory(index)
        return segment

    def merged_chunk(self, span: Span) -> tuple[bytes, int] | None:
        """Return a chunk of merged entries that a tail was sent before, and the last offset in it."""
        kept = self._merged_chunks.get(span)
        if kept is not None:
            self._latest_merged = kept[0]
        return kept

    def keep_merged_chunk(self, span: Span, chunk: bytes, last: int) -> None:
        """Keep a chunk of merged entries for tails that ask for the same; as long as other chunks are."""
        self._window.keep_chunk(self, len(chunk), 0)
        self._merged_chunks[span] = chunk, last
        self._latest_merged = chunk

    def deflated(self, chunk: bytes) -> bytes:
        """Return what a tail is sent now, deflated; a chunk is compressed once for all tails (Read/Compressed)."""
        kept = self._runs.get(id(chunk))
        if kept is not None:
            return kept[1]
        latest = self._latest
        if latest is not None and latest[3] is chunk:
            run = self._deflated_span(latest[0], latest[1], latest[4]) or deflated(chunk)
        elif chunk is self._latest_merged:
            run = deflated(chunk)
        else:
            return deflated(chunk)  # a heartbeat, a reset: no chunk that is kept here
        self._window.keep_chunk(self, len(run), 0)
        self._runs[id(chunk)] = chunk, run
        return run

    def _deflated_span(self, face: Face[Any], after: int, last: int) -> bytes | None:
        """Return a long chunk as the runs of its segments, which the chunks of readers elsewhere in the log share."""
        if last - after < SEGMENT_ENTRIES:
            return None
        runs: list[bytes] = []
        while after < last:
            index = index_of(after + 1)
            upto = min(start_of(index + 1) - 1, last)
            segment = self._window.get(self._sync.stream_id, index)
            run = None if segment is None else segment.deflated(face, after, upto)
            if run is None:  # it has yielded to another one since
                return None
            runs.append(run)
            after = upto
        return b"".join(runs)

    def chars_at(self, offset: int) -> int:
        """Return the length of the text at an offset; 0 where it is none, or is not in memory any more."""
        segment = self._window.get(self._sync.stream_id, index_of(offset))
        stored = None if segment is None else segment.entry_at(offset)
        return 0 if stored is None else len(decode(stored.content, offset, stored.epoch).text)

    def drop_chunks(self) -> None:
        """Drop the chunks: at a beat, because nobody may ask for them again, or because their memory is wanted."""
        self._latest = self._latest_merged = None
        if self._chunks or self._merged_chunks:
            frames_bytes = sum([len(frames) for _, frames, _ in self._chunks.values()])
            frames_bytes += sum([len(frames) for frames, _ in self._merged_chunks.values()])
            frames_bytes += sum([len(run) for _, run in self._runs.values()])
            self._window.drop_chunks(self, frames_bytes)
            self._chunks.clear()
            self._merged_chunks.clear()
            self._runs.clear()

    def clear(self) -> None:
        """Drop everything: the log was rewritten, or is followed no more."""
        self.histories += 1
        self.drop_chunks()
        self._states.clear()
        self._window.grow(-self._text_bytes)
        self._text_bytes = 0


def _up_to(frames: list[bytes], size_bytes: int) -> list[bytes]:
    """Return the first frames up to a size, and the one that exceeds it."""
    for number, frame in enumerate(frames, 1):
        size_bytes -= len(frame)
        if size_bytes <= 0:
            return frames[:number]
    return frames
