"""A tail of a thread: the tails of its streams, one after the other, and a wait for the next one (Threads/Events).

A task leads from stream to stream. While a stream is read, its own tail writes, and the task waits for its end.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from midstream.access.grant import Grant
from midstream.access.refusals import AccessError
from midstream.faces.thread import ThreadFrames
from midstream.hub.deflate import deflated
from midstream.hub.lagging import Lagging
from midstream.hub.tail import Sink, Tail
from midstream.log.errors import LogError, StreamAbsent
from midstream.log.registry import Listed
from midstream.service.caller_streams import CallerStreams
from midstream.service.thread_streams import ThreadPlace, ThreadStreams

logger = logging.getLogger(__name__)

BEATS_PER_LOOK: Final = 4
"""An idle tail looks for a new stream at each fourth heartbeat, although it is told of each."""


class ThreadTail:
    """Sends all that a thread's streams hold after a place, and what comes, until its client or the broker ends it.

    Args:
        streams: The thread.
        face_of: Returns the face of a stream of it.
        place: The place to begin after; None: at the start, because the client's cursor is in no stream of the thread.
        follows: Whether it waits for more; otherwise it ends with what there is.
        merges: Whether what is logged of a stream when it is reached is sent in merged entries.
    """

    def __init__(
        self,
        streams: ThreadStreams,
        face_of: Callable[[str], ThreadFrames],
        place: ThreadPlace | None,
        *,
        follows: bool,
        merges: bool,
    ) -> None:
        self._streams = streams
        self._face_of = face_of
        self._is_lost = place is None
        self._place = place or ThreadPlace(0)
        self._follows = follows
        self._merges = merges
        self._sink: Sink | None = None
        self._inner: Tail | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._is_over = self._has_failed = False
        self._is_counted = False
        self._wait = streams.open_wait()
        self._count(is_counted=True)

    @property
    def stream_id(self) -> str:
        """Several streams are read."""
        return ""

    @property
    def lagging(self) -> Lagging:
        """The clients of this process that lag."""
        return self._streams.lagging

    @property
    def failed(self) -> bool:
        """Whether it was closed in the middle."""
        return self._has_failed

    @property
    def is_ending_or_over(self) -> bool:
        """Whether it has ended."""
        return self._is_over

    def begin(self, sink: Sink, reset: str | None = None, *, opening: bytes = b"") -> None:
        """Begin to send to a sink; `opening` goes out at once."""
        if self._is_over:
            sink.close()
            return
        if self._is_lost:
            reset = "cursor_unknown"
        self._sink = sink
        if chunk := opening + (self._face_of("").thread_reset(reset) if reset else b""):
            sink.write(chunk)
        self._task = asyncio.create_task(self._run(), name="a thread's tail")

    def pump(self) -> None:
        """Go on, because the sink is ready."""
        self._ready.set()
        if self._inner is not None:
            self._inner.pump()

    def deflated(self, chunk: bytes) -> bytes:
        """Return what the sink is given now, deflated."""
        return deflated(chunk) if self._inner is None else self._inner.deflated(chunk)

    def close(self) -> None:
        """Leave the thread and close the sink; may be called again."""
        if self._is_over:
            return
        self._is_over = True
        self._streams.close_wait(self._wait)
        self._count(is_counted=False)
        if self._inner is not None:
            self._inner.close()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def fail(self) -> None:
        """Close in the middle, so that the client sees a cut and comes back."""
        if not self._is_over:
            self._has_failed = True
            self.close()

    def renew(self, grant: Grant, streams: CallerStreams) -> None:
        """Go on by a newer credential of the same caller, and end with that one."""
        self._wait.grant = self._streams.pass_to(grant, streams)
        if self._inner is not None:
            self._inner.grant = self._wait.grant

    def refuse(self, reason: str) -> None:
        """Tell the client that its credential is over, and close."""
        self._wait.refuse(reason)
        if self._inner is not None:
            self._inner.refuse(reason)

    async def _run(self) -> None:
        try:
            await self._lead()
        except (LogError, AccessError) as error:
            logger.debug("a thread's tail is cut: %s", error)
            self.fail()
        except Exception:
            logger.exception("a thread's tail failed and is cut")
            self.fail()
        else:
            self.close()

    async def _lead(self) -> None:
        """Read stream after stream; return when nothing more is to be sent."""
        place = self._place
        goes_on = place.stream_id is None or await self._read(place.stream_id, place.after)
        while goes_on:
            row = await self._next(place.at)
            if row is None:
                return
            place = ThreadPlace(row.created_ms)
            try:
                marker = self._face_of(row.stream_id).started(await self._streams.facts(row.stream_id))
            except StreamAbsent:
                continue  # it has expired, or was deleted just now
            await self._send(marker)
            goes_on = await self._read(row.stream_id, 0)

    async def _read(self, stream_id: str, after: int) -> bool:
        """Send a stream's entries after an offset, to its end; return whether the thread goes on after that."""
        face = self._face_of(stream_id)
        end: dict[str, str | None] = {"outcome": None}
        try:
            async with self._streams.follow(stream_id, after) as follower:
                if after + 1 < follower.first:
                    outcome = await self._streams.outcome(stream_id)
                    await self._send(face.ended({"outcome": outcome, "trimmed": True}))
                    return True
                until = None if self._follows else follower.tail
                self._count(is_counted=False)  # in the same turn of the loop as the tail counts
                join = follower.join_merged if self._merges else follower.join
                inner = self._inner = join(face, after, until)
                inner.grant = self._wait.grant  # a newer one, perhaps, than this stream was asked for with
                closing = _StreamSink(self)
                inner.begin(closing, "cursor_ahead" if after > follower.tail else None)
                if self._wait.refusal is not None:  # since the stream was asked for
                    inner.refuse(self._wait.refusal)
                await closing.closed.wait()
            self._inner = None
            if inner.failed:
                self.fail()
                return False
            if follower.ended and inner.cursor >= follower.tail:
                end = {"outcome": await self._streams.outcome(stream_id)}
            else:
                await self._streams.outcome(stream_id)  # raises StreamAbsent where the tail ended with its stream
                return False  # it is at the tail, or was told to come back, perhaps before this reader was
        except StreamAbsent:
            self._inner = None  # it has expired, or was deleted
        await self._send(face.ended(end))
        return True

    async def _next(self, at: int) -> Listed | None:
        """Return the next stream after a place, once there is one; None: nothing more is to be sent."""
        row = None if self._wait.is_over else await self._streams.next(at)
        if row is not None or not self._follows:
            return row
        async with self._streams.listening(self._wait):
            while not self._wait.is_over:
                if row := await self._streams.next(at):
                    return row
                await self._rest()
                self._wait.woken.clear()
        face, refusal = self._face_of(""), self._wait.refusal
        parting = face.broker_stop(self._wait.retry_ms or 0) if refusal is None else face.credential_end(refusal)
        await self._send(parting)
        return None

    async def _rest(self) -> None:
        """Send heartbeats until there may be news."""
        for _ in range(BEATS_PER_LOOK):
            try:
                async with asyncio.timeout(self._streams.heartbeat_s):
                    await self._wait.woken.wait()
            except TimeoutError:
                await self._send(self._face_of("").heartbeat)
            else:
                return

    async def _send(self, frame: bytes) -> None:
        """Write a frame, unless it is empty, as soon as the client has taken what was sent before."""
        while self._sink is not None and not self._sink.ready:
            self._ready.clear()
            await self._ready.wait()
        if self._sink is not None and frame:
            self._sink.write(frame)

    def inner_is_over(self) -> None:
        """Count as a tail again: the stream's tail has left."""
        self._count(is_counted=True)

    def _count(self, is_counted: bool) -> None:
        if is_counted != self._is_counted and not (is_counted and self._is_over):
            self._is_counted = is_counted
            self._streams.count(1 if is_counted else -1)

    @property
    def sink(self) -> Sink | None:
        """Where the frames go; None: it is over."""
        return self._sink


class _StreamSink:
    """Where the tail of one stream writes."""

    def __init__(self, tail: ThreadTail) -> None:
        self._tail = tail
        self.closed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the thread's sink is."""
        return self._tail.sink is not None and self._tail.sink.ready

    def write(self, chunk: bytes) -> None:
        """Pass a chunk on."""
        if self._tail.sink is not None:
            self._tail.sink.write(chunk)

    def close(self) -> None:
        """The stream's tail is over; the thread's goes on."""
        self._tail.inner_is_over()
        self.closed.set()
