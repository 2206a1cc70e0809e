"""What the faces make of one stream: chunks of frames, and the states that are needed to begin in its middle."""

from typing import Any, Final

from midstream.faces.face import Face
from midstream.hub.log_sync import LogSync
from midstream.hub.segment import NotInMemory, index_of
from midstream.hub.window import Window

CHUNK_BYTES: Final = 262_144
"""Size at which a chunk is handed to a sink rather than grown."""


class Frames:
    """The frames of one stream, made of the segments in memory."""

    def __init__(self, sync: LogSync, window: Window) -> None:
        self._sync = sync
        self._window = window
        self._states: dict[tuple[Face[Any], int], Any] = {}  # the state of each face that remembers, before a segment
        self._chunks: dict[Face[Any], tuple[tuple[int, int], bytes, int]] = {}  # each face's last chunk, after its span

    def chunk(self, face: Face[Any], after: int, target: int) -> tuple[bytes, int]:
        """Return frames of the entries after `after`, at most up to `target`, and the last offset in them.

        Raises:
            NotInMemory: An entry has to be read from the log first; see `Follower.load`.
        """
        # Tails move in step, those that keep up and those that replay: the next one asks for the same span.
        span = (after, target)
        last = self._chunks.get(face)
        if last is None or last[0] != span:
            last = self._chunks[face] = (span, *self._made(face, after, target))
        return last[1], last[2]

    def _made(self, face: Face[Any], after: int, target: int) -> tuple[bytes, int]:
        parts: list[bytes] = []
        size = 0
        while after < target and size < CHUNK_BYTES:
            index = index_of(after + 1)
            segment = self._window.get(self._sync.stream_id, index)
            if segment is None or not segment.first <= after + 1 <= segment.last:
                if parts:
                    break
                raise NotInMemory(index)
            upto = min(segment.last, target)
            frames = segment.frames(face, self._state_before(face, index), after, upto)
            frames_bytes = sum(map(len, frames))
            if size + frames_bytes > CHUNK_BYTES:
                frames = _up_to(frames, CHUNK_BYTES - size)
            parts += frames
            size += frames_bytes
            after += len(frames)
        return (parts[0] if len(parts) == 1 else b"".join(parts)), after

    def _state_before(self, face: Face[Any], index: int) -> Any:
        """Return a face's state before a segment, made from the nearest one before it that is kept."""
        state = face.begin()
        if state is None:
            return None
        nearest, front = index, index_of(self._sync.first)
        while nearest > front and (face, nearest) not in self._states:
            nearest -= 1
        state = self._states.get((face, nearest), state)
        for earlier in range(nearest, index):
            segment = self._window.get(self._sync.stream_id, earlier)
            if segment is None:
                raise NotInMemory(earlier)
            state = self._states[face, earlier + 1] = segment.state_after(face, state)
        return state

    def let_go(self) -> None:
        """Drop the chunks: nobody may ask for them again."""
        self._chunks.clear()

    def forget(self) -> None:
        """Drop everything: the log was rewritten."""
        self._states.clear()
        self._chunks.clear()


def _up_to(frames: list[bytes], size_bytes: int) -> list[bytes]:
    """Return the first frames up to a size, and the one that exceeds it."""
    for number, frame in enumerate(frames, 1):
        size_bytes -= len(frame)
        if size_bytes <= 0:
            return frames[:number]
    return frames
