"""One live reader of a stream. It holds a cursor and no queue: what it has not been sent stays in the log."""

import time
from enum import Enum, auto
from typing import Any, Final, Protocol

from midstream import counters
from midstream.access.grant import Grant
from midstream.faces.face import Face
from midstream.hub.lagging import Lagging
from midstream.hub.reader import Reader
from midstream.hub.segment import NotInMemory


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


class TailState(Enum):
    """Where a tail is between its joining and its end."""

    OPEN = auto()
    """It sends entries."""
    RESETTING = auto()
    """It owes a reset, after which it sends the log from the start."""
    ENDING = auto()
    """It owes its last frame, after which it closes."""
    CLOSED = auto()
    """Nothing more is sent."""
    FAILED = auto()
    """It was closed in the middle: the client has to see a cut."""


CLIENTS: Final = {
    "NativeFace": "sse",
    "ThreadFace": "sse",
    "NativeObjectsFace": "sse",
    "ObjectsFace": "websocket",
    "ThreadObjectsFace": "websocket",
    "ChatFace": "openai chat",
    "ResponsesFace": "openai responses",
    "MessagesFace": "anthropic",
    "UiMessagesFace": "ai sdk",
    "UiObjectsFace": "ai sdk",
}
"""What kind of client each wire format is for, by the name of its face."""
_OPEN: Final = TailState.OPEN  # `pump` looks at it for every tail and publication
_CATCH_UP: Final = counters.distribution("catch_up_seconds")
_LIVE: Final = (TailState.OPEN, TailState.RESETTING)


class Tail:
    """Sends a stream's entries to a sink, each once and in order, at the sink's pace.

    | state                   | event                                     | next state | what is sent          |
    |-------------------------|-------------------------------------------|------------|-----------------------|
    | OPEN                    | the sink is ready, entries are there      | OPEN       | their frames          |
    | OPEN                    | the frame of the end, or of `until`, sent | CLOSED     |                       |
    | OPEN, RESETTING         | `restart`                                 | RESETTING  |                       |
    | RESETTING               | the sink is ready                         | OPEN       | the reset that is due |
    | OPEN, RESETTING         | `dismiss`, `part`, `refuse`               | ENDING     |                       |
    | ENDING                  | the sink is ready                         | CLOSED     | the last frame        |
    | OPEN, RESETTING, ENDING | `close`, as when the client has gone      | CLOSED     |                       |
    | OPEN, RESETTING, ENDING | `fail`                                    | FAILED     |                       |

    What is in no row changes nothing. Before `begin` there is no sink, which counts as one that is not ready.

    Attributes:
        face: The wire format it is sent in.
        sink: Where it goes; None before `begin`, and once it is closed.
        cursor: The last offset handed to the sink.
        until: Close once this offset was sent; None: once the terminal entry was.
        grant: What its client was let in by, if that can end before the stream does.
        mark: An offset and a frame to send once, right after the frame of that offset; None: nothing to mark. Without
            a frame it is where a tail that was resumed has caught up.
        resumed_s: When it was resumed, by the monotonic clock; set where the mark has no frame.
        quiet_beats: How many of the hub's beats have passed since the sink was last given something.
    """

    __slots__ = (
        "_opening",
        "_owed",
        "_reader",
        "_state",
        "cursor",
        "face",
        "grant",
        "mark",
        "quiet_beats",
        "resumed_s",
        "sink",
        "until",
    )
    resumed_s: float

    def __init__(
        self, reader: Reader, face: Face[Any], after: int, until: int | None, mark: tuple[int, bytes] | None
    ) -> None:
        self.face = face
        self.sink: Sink | None = None
        self.cursor = after
        self.until = until
        self.mark = mark
        self.grant: Grant | None = None
        self.quiet_beats = 0
        self._reader = reader
        self._state = TailState.OPEN
        self._opening = b""
        self._owed = b""  # the frame that is due while RESETTING or ENDING

    def begin(self, sink: Sink, reset: str | None = None, *, opening: bytes = b"") -> None:
        """Begin to send to a sink; with `reset`, tell the client to forget what it has and start over.

        `opening` leads the first chunk, and goes out now even if there is none yet.
        """
        self._opening = opening
        if self._is_over():
            sink.close()
            return
        self.sink = sink
        if reset is not None:
            self.restart(reset)
        target = self._reader.sync.tail
        if reset is None and 0 < self.cursor < target and self.mark is None:
            self._catch_up(target)
        else:
            self.pump()
        if self._opening:
            self._write(sink, b"")

    def _catch_up(self, target: int) -> None:
        """Send what a client that came back has missed, and measure how long that takes."""
        began_s = time.monotonic()
        self.pump()
        if self.cursor >= target:
            _CATCH_UP.add(time.monotonic() - began_s)
        elif self.mark is None:
            self.mark, self.resumed_s = (target, b""), began_s

    def pump(self) -> None:
        """Send what there is after the cursor, as long as the sink is ready for more."""
        sink, reader = self.sink, self._reader
        sync = reader.sync
        while sink is not None and sink.ready:
            if self._state is not _OPEN:
                if self._is_over():
                    return
                self._send_owed(sink)
                continue
            target = sync.tail if self.until is None else self.until
            if self.mark is not None:
                offset, frame = self.mark
                if self.cursor >= offset:
                    self.mark = None
                    self._write(sink, frame)
                    if not frame:
                        _CATCH_UP.add(time.monotonic() - self.resumed_s)
                    continue
                target = min(target, offset)
            if self.cursor < target:
                try:
                    frames, self.cursor = reader.frames.chunk(self.face, self.cursor, target)
                except NotInMemory as missing:
                    reader.load(missing.index, self)
                    return
                self._write(sink, frames)
            elif sync.ended or self.until is not None:
                self.close()
            else:
                return

    def deflated(self, chunk: bytes) -> bytes:
        """Return what the sink is given now, deflated."""
        return self._reader.frames.deflated(chunk)

    def restart(self, reason: str) -> None:
        """Tell the client to forget what it has, and begin at the start of the log; the next `pump` does it."""
        if self._state in _LIVE:
            self.cursor = self._reader.sync.first - 1
            self._owed = self.face.reset(reason)
            self._state = TailState.RESETTING

    def read_through(self, reader: Reader) -> None:
        """Go on through another reader of the same stream."""
        self._reader = reader

    def beat(self, beats_of_silence: int) -> None:
        """One of the hub's beats: send a heartbeat if the sink was given nothing for so many of them."""
        self.quiet_beats += 1
        if self.quiet_beats >= beats_of_silence and self.sink is not None and self.sink.ready:
            self._write(self.sink, self.face.heartbeat)

    def dismiss(self, reason: str) -> None:
        """Send a last reset, because the stream is gone, and close."""
        self._end_with(self.face.reset(reason))

    def part(self, retry_ms: int) -> None:
        """Ask the client to come back after `retry_ms`, to the process that serves then, and close."""
        self._end_with(self.face.broker_stop(retry_ms))

    def refuse(self, reason: str) -> None:
        """Tell the client that its credential is over, and close."""
        self._end_with(self.face.credential_end(reason))

    @property
    def stream_id(self) -> str:
        """The stream that it reads."""
        return self._reader.stream_id

    @property
    def row(self) -> dict[str, Any]:
        """What an operator wants to know of it: its client's wire format, cursor, and how many entries it lags."""
        face = type(self.face).__name__
        return {
            "client": CLIENTS.get(face, face),
            "cursor": self.cursor,
            "lag": max(0, self._reader.sync.tail - self.cursor),
            "is_waiting_for_client": self.sink is not None and not self.sink.ready,
        }

    @property
    def lagging(self) -> Lagging:
        """The clients of this process that lag: each has not taken yet what its sink was sent."""
        return self._reader.lagging

    @property
    def is_ending_or_over(self) -> bool:
        """Whether it has ended, or was ended from here, though its last frame may be due."""
        return self._state not in _LIVE

    @property
    def failed(self) -> bool:
        """Whether it was closed in the middle, without a last frame."""
        return self._state is TailState.FAILED

    def close(self) -> None:
        """Leave the follower and close the sink; may be called again."""
        self._close(TailState.CLOSED)

    def fail(self) -> None:
        """Close in the middle, so that the client sees a cut and comes back."""
        self._close(TailState.FAILED)

    def _is_over(self) -> bool:
        return self._state is TailState.CLOSED or self._state is TailState.FAILED

    def _close(self, state: TailState) -> None:
        if self._is_over():
            return
        self._state = state
        self._reader.leave(self)
        sink, self.sink = self.sink, None  # a sink holds its tail: held both ways, they would wait for the collector
        if sink is not None:
            if self._opening:
                self._write(sink, b"")
            sink.close()

    def _end_with(self, frame: bytes) -> None:
        if self._state in _LIVE:
            self._owed = frame
            self._state = TailState.ENDING
            self.pump()

    def _send_owed(self, sink: Sink) -> None:
        """Send the frame that is due, and move on to the state after it."""
        frame, self._owed = self._owed, b""
        if self._state is TailState.RESETTING:
            self._state = TailState.OPEN
            self._write(sink, frame)
        else:
            self._write(sink, frame)
            self.close()

    def _write(self, sink: Sink, chunk: bytes) -> None:
        self.quiet_beats = 0
        if self._opening:
            chunk, self._opening = self._opening + chunk, b""
        if chunk:
            sink.write(chunk)
