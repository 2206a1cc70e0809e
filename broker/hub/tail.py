"""One live reader of a stream. It holds a cursor and no queue: what it has not been sent stays in the log."""

import asyncio
from typing import TYPE_CHECKING, Protocol

from broker.faces.face import Face

if TYPE_CHECKING:
    from broker.hub.follower import Follower


class Sink(Protocol):
    """Where a tail's frames go."""

    @property
    def ready(self) -> bool:
        """Whether the last chunk is off our hands. When it becomes true again, the sink calls `Tail.pump`."""
        ...

    def write(self, chunk: bytes) -> None:
        """Take a chunk. Never blocks, never raises; called only while `ready`."""
        ...

    def close(self) -> None:
        """No more chunks will come. Called once."""
        ...


class Tail:
    """Sends a follower's entries to a sink, each once and in order, at the sink's pace.

    Attributes:
        cursor: The last offset handed to the sink.
        until: Stop behind this offset; None: behind the terminal entry.
        written_s: When the sink last took something, by the loop's clock.
    """

    __slots__ = ("_closed", "_face", "_follower", "_owed", "_sink", "cursor", "until", "written_s")

    def __init__(self, follower: "Follower", face: Face, sink: Sink, after: int, until: int | None) -> None:
        self._follower = follower
        self._face = face
        self._sink = sink
        self._closed = False
        self._owed: str | None = None  # a reset that the sink was not ready for
        self.cursor = after
        self.until = until
        self.written_s = asyncio.get_running_loop().time()

    def pump(self) -> None:
        """Send what there is behind the cursor, as long as the sink is ready for more."""
        while not self._closed and self._sink.ready:
            if self._owed is not None:
                reason, self._owed = self._owed, None
                self._write(self._face.reset(reason))
                continue
            target = self._follower.tail if self.until is None else self.until
            if self.cursor >= target:
                if self._follower.ended or self.until is not None:
                    self.close()
                return
            chunk = self._follower.chunk(self._face, self.cursor, target)
            if chunk is None:
                self._follower.load(self.cursor + 1, self)
                return
            frames, self.cursor = chunk
            if frames:
                self._write(frames)

    def restart(self, reason: str) -> None:
        """Tell the client to forget what it has, and begin at the start of the log."""
        if self._closed:
            return
        self.cursor = self._follower.first - 1
        if self._sink.ready:
            self._write(self._face.reset(reason))
            self.pump()
        else:
            self._owed = reason

    def beat(self, now_s: float, silence_s: float) -> None:
        """Send a heartbeat if nothing was sent for `silence_s`."""
        if not self._closed and self._sink.ready and now_s - self.written_s >= silence_s:
            self._write(self._face.heartbeat)

    def forgotten(self, reason: str) -> None:
        """Say that the stream is gone, and close."""
        if not self._closed:
            if self._sink.ready:
                self._write(self._face.reset(reason))
            self.close()

    def part(self, retry_ms: int) -> None:
        """Ask the client to come back after `retry_ms`, to whoever serves then, and close."""
        if not self._closed:
            frame = self._face.parting(retry_ms)
            if frame and self._sink.ready:
                self._write(frame)
            self.close()

    def close(self) -> None:
        """Leave the follower and close the sink; may be called again."""
        if not self._closed:
            self._closed = True
            self._follower.leave(self)
            self._sink.close()

    def _write(self, chunk: bytes) -> None:
        self.written_s = asyncio.get_running_loop().time()
        self._sink.write(chunk)
