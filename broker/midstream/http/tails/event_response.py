"""A response that is one tail: frames go out as they come, at the client's pace, until the end or a disconnect."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from midstream.http.fast_path.wire import Wire, wire_of
from midstream.http.tails.gzip_member import GzipMember, accepts_gzip
from midstream.http.tails.send_sink import GzipSendSink, SendSink
from midstream.http.tails.wire_sink import BareSink, GzipSink, WireSink
from midstream.hub.sender import Sender
from midstream.log.keys import id_of
from midstream.settings import Settings

_STREAMING: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class EventResponse(Response):
    """Server-sent events: what a tail reads. The response begins the tail and ends it.

    `opening` is sent first. `reset` is the reason for which the client has to forget what it has. `over` is called when
    the response is over, with whether the client has gone before the end. By the `settings`, a client that takes
    nothing for `send_timeout_ms` is cut, and so has gone, and `gzip` compresses for those who accept it.

    Attributes:
        sent: Whether all of it was sent, once it is over.
    """

    def __init__(
        self,
        tail: Sender,
        *,
        opening: bytes,
        reset: str | None = None,
        settings: Settings,
        status: int = 200,
        headers: dict[str, str] | None = None,
        over: Callable[[bool], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        # Written as Starlette's own streaming response is: the base class would count the bytes of a body, and encode
        # headers that are always the same.
        self.status_code = status
        self.background = None
        self.raw_headers = [*_STREAMING]
        if tail.stream_id:
            self.raw_headers.append((b"stream-id", id_of(tail.stream_id).encode("latin-1")))
        if headers:
            named = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in headers.items()}
            self.raw_headers = list((dict(self.raw_headers) | named).items())
        self._opening = opening
        self._tail = tail
        self.sent = False
        self._over = over
        self._reset = reset
        self._gzips = settings.gzip
        self._send_timeout_s = settings.send_timeout_ms / 1000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then lend the connection to the tail; where there is none to lend, send all until the end."""
        wire = wire_of(scope)
        try:
            member = self._compressed(scope) if self._gzips else None
            if wire is None or not wire.write_head(scope, send, self.status_code, self.raw_headers):
                if wire is not None and not wire.prepare(scope):
                    wire = None
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if wire is None:
                await self._send_all(receive, send, member)
            else:
                # Nothing of this response is kept for a tail that stays for long, unless somebody waits for its end.
                on_over = None if self._over is None else functools.partial(self._run_over, wire)
                if member is not None:
                    self._begin(GzipSink(wire, scope, self._tail, self._send_timeout_s, on_over, member))
                else:
                    sink_type = BareSink if scope["http_version"] == "1.0" else WireSink
                    self._begin(sink_type(wire, scope, self._tail, self._send_timeout_s, on_over))
        except BaseException:
            self._tail.fail()
            raise

    def _compressed(self, scope: Scope) -> GzipMember | None:
        """Note in the head whether the body is compressed, and return what makes it so (PROTOCOL: Read/Compressed)."""
        self.raw_headers.append((b"vary", b"Accept-Encoding"))
        if scope["http_version"] == "1.0" or not accepts_gzip(scope):
            return None
        self.raw_headers.append((b"content-encoding", b"gzip"))
        return GzipMember(self._opening, self._tail.deflated(self._opening))

    def _begin(self, sink: WireSink | SendSink) -> None:
        if isinstance(sink, GzipSink | GzipSendSink):
            # The sink has the opening: a tail would put it before a chunk, which is then no longer the one all share.
            self._tail.begin(sink, self._reset)
            sink.begin()
        else:
            self._tail.begin(sink, self._reset, opening=self._opening)

    async def _send_all(self, receive: Receive, send: Send, member: GzipMember | None) -> None:
        timeout_s = self._send_timeout_s
        sink = SendSink(self._tail, timeout_s) if member is None else GzipSendSink(self._tail, timeout_s, member)
        try:
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(_disconnected(receive), name="the client of a tail")
                await asyncio.sleep(0)  # a client that has left already is sent nothing, and has seen no end
                if not leaving.done():
                    sending = sink.task = group.create_task(sink.run(send), name="a tail")
                    sending.add_done_callback(lambda _: leaving.cancel())
                    leaving.add_done_callback(lambda _: sending.cancel())
                    self._begin(sink)
        finally:
            self.sent = sink.sent
            gone = not self._tail.is_ending_or_over
            self._tail.close()
        if self._over is not None:
            await self._over(gone)

    def _run_over(self, wire: Wire, sent: bool) -> None:
        self.sent = sent
        if self._over is not None:
            wire.run(self._over(not self._tail.is_ending_or_over))


async def _disconnected(receive: Receive) -> None:
    """Return when the client has gone, or when the response is complete (ASGI)."""
    while (await receive())["type"] != "http.disconnect":
        pass
