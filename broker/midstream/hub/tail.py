"""One live reader of a stream. It holds a cursor and no queue: what it has not been sent stays in the log."""

from typing import TYPE_CHECKING, Any, Protocol

from midstream.faces.face import Face
from midstream.hub.segment import NotInMemory

if TYPE_CHECKING:
    from midstream.hub.follower import Follower
    from midstream.hub.lagging import Lagging


class Sink(Protocol):
    """Where a tail's frames go."""

    @property
    def ready(self) -> bool:
        """Whether the last chunk is off our hands. When it becomes true again, the sink calls `Tail.pump`."""
        ...

    def write(self, chunk: bytes) -> None:
        """Take a chunk. Never blocks; called only while `ready`."""
        ...

    def close(self) -> None:
        """No more chunks will come. Called once; where the tail has `failed`, what was sent must not look whole."""
        ...


class Tail:
    """Sends a follower's entries to a sink, each once and in order, at the sink's pace.

    Attributes:
        face: The wire format it is sent in.
        sink: Where it goes; None before `begin`.
        cursor: The last offset handed to the sink.
        until: Stop behind this offset; None: behind the terminal entry.
        mark: An offset and a frame to send once, right behind the frame of that offset; None: nothing to mark.
        quiet_beats: How many of the hub's beats have passed since the sink was last given something.
        failed: It was closed in the middle, without a last word.
    """

    __slots__ = (
        "_closed",
        "_follower",
        "_last",
        "_opening",
        "_owed",
        "cursor",
        "face",
        "failed",
        "mark",
        "quiet_beats",
        "sink",
        "until",
    )

    def __init__(
        self, follower: "Follower", face: Face[Any], after: int, until: int | None, mark: tuple[int, bytes] | None
    ) -> None:
        self.face = face
        self.sink: Sink | None = None
        self.cursor = after
        self.until = until
        self.mark = mark
        self.quiet_beats = 0
        self.failed = False
        self._follower = follower
        self._closed = False
        self._last: bytes | None = None  # last words for which there was no ready sink
        self._opening = b""
        self._owed: str | None = None  # a reset that the sink was not ready for

    def begin(self, sink: Sink, reset: str | None = None, *, opening: bytes = b"") -> None:
        """Begin to send to a sink; with `reset`, tell the client to forget what it has and start over.

        `opening` leads the first chunk, and goes out now even if there is none yet.
        """
        self.sink = sink
        self._opening = opening
        if self._closed:
            sink.close()
        elif reset is None:
            self.pump()
        else:
            self.restart(reset)
        if self._opening and not self._closed:
            self._write(sink, b"")

    def pump(self) -> None:
        """Send what there is behind the cursor, as long as the sink is ready for more."""
        sink, follower = self.sink, self._follower
        while sink is not None and sink.ready and not self._closed:
            if self._last is not None:
                self._last_words(self._last)
                return
            if self._owed is not None:
                reason, self._owed = self._owed, None
                self._write(sink, self.face.reset(reason))
                continue
            target = follower.tail if self.until is None else self.until
            if self.mark is not None:
                offset, frame = self.mark
                if self.cursor >= offset:
                    self.mark = None
                    self._write(sink, frame)
                    continue
                target = min(target, offset)
            if self.cursor < target:
                try:
                    frames, self.cursor = follower.frames.chunk(self.face, self.cursor, target)
                except NotInMemory as missing:
                    follower.load(missing.index, self)
                    return
                self._write(sink, frames)
            elif follower.ended or self.until is not None:
                self.close()
            else:
                return

    def restart(self, reason: str) -> None:
        """Tell the client to forget what it has, and begin at the start of the log."""
        self.cursor = self._follower.first - 1
        self._owed = reason
        self.pump()

    def beat(self, beats_of_silence: int) -> None:
        """One of the hub's beats: send a heartbeat if the sink was given nothing for so many of them."""
        self.quiet_beats += 1
        if self.quiet_beats >= beats_of_silence and self.sink is not None and self.sink.ready:
            self._write(self.sink, self.face.heartbeat)

    def forgotten(self, reason: str) -> None:
        """Say that the stream is gone, and close."""
        self._last_words(self.face.reset(reason))

    def part(self, retry_ms: int) -> None:
        """Ask the client to come back after `retry_ms`, to whoever serves then, and close."""
        self._last_words(self.face.parting(retry_ms))

    @property
    def stream_id(self) -> str:
        """The stream that it reads."""
        return self._follower.stream_id

    @property
    def lagging(self) -> "Lagging":
        """Who is behind in this process; a sink is among them as long as its client has not taken what it was sent."""
        return self._follower.lagging

    @property
    def closed(self) -> bool:
        """Whether it has ended, or was ended from here, though its last words may be owed."""
        return self._closed or self._last is not None

    def close(self) -> None:
        """Leave the follower and close the sink; may be called again."""
        if not self._closed:
            self._closed = True
            self._follower.leave(self)
            if self.sink is not None:
                if self._opening:
                    self._write(self.sink, b"")
                self.sink.close()

    def fail(self) -> None:
        """Close in the middle, so that the client sees a cut and comes back."""
        if not self._closed:
            self.failed = True
            self.close()

    def _last_words(self, frame: bytes) -> None:
        if self._closed:
            return
        if self.sink is None or not self.sink.ready:
            self._last = frame
        else:
            self._write(self.sink, frame)
            self.close()

    def _write(self, sink: Sink, chunk: bytes) -> None:
        self.quiet_beats = 0
        if self._opening:
            chunk, self._opening = self._opening + chunk, b""
        if chunk:
            sink.write(chunk)
