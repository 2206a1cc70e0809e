"""A response that is one tail: frames go out as they come, at the client's pace, until the end or a disconnect."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from midstream.http.fast_path.wire import Wire, wire_of
from midstream.http.tails.send_sink import SendSink
from midstream.http.tails.wire_sink import BareSink, WireSink
from midstream.hub.sender import Sender
from midstream.log.keys import id_of

_STREAMING: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class EventResponse(Response):
    """Server-sent events: what a tail reads. The response begins the tail and ends it.

    `opening` is sent first. `reset` is the reason for which the client has to forget what it has. `over` is called when
    the response is over, with whether the client has gone before the end. A client that takes nothing for
    `send_timeout_s` is cut, and so has gone.

    Attributes:
        sent: Whether all of it was sent, once it is over.
    """

    def __init__(
        self,
        tail: Sender,
        *,
        opening: bytes,
        reset: str | None = None,
        send_timeout_s: float,
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
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then lend the connection to the tail; where there is none to lend, send all until the end."""
        wire = wire_of(scope)
        try:
            if wire is None or not wire.write_head(scope, send, self.status_code, self.raw_headers):
                if wire is not None and not wire.prepare(scope):
                    wire = None
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if wire is None:
                await self._send_all(receive, send)
            else:
                # Nothing of this response is kept for a tail that stays for long, unless somebody waits for its end.
                on_over = None if self._over is None else functools.partial(self._run_over, wire)
                sink_type = BareSink if scope["http_version"] == "1.0" else WireSink
                sink = sink_type(wire, scope, self._tail, self._send_timeout_s, on_over)
                self._tail.begin(sink, self._reset, opening=self._opening)
        except BaseException:
            self._tail.fail()
            raise

    async def _send_all(self, receive: Receive, send: Send) -> None:
        sink = SendSink(self._tail, self._send_timeout_s)
        try:
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(_disconnected(receive), name="the client of a tail")
                await asyncio.sleep(0)  # a client that has left already is sent nothing, and has seen no end
                if not leaving.done():
                    sending = sink.task = group.create_task(sink.run(send), name="a tail")
                    sending.add_done_callback(lambda _: leaving.cancel())
                    leaving.add_done_callback(lambda _: sending.cancel())
                    self._tail.begin(sink, self._reset, opening=self._opening)
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
