"""A response that is one tail: frames go out as they come, at the client's pace, until the end or a disconnect."""

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from midstream.http.fast_path.wire import Wire, wire_of
from midstream.http.tails.sinks import BareSink, SendSink, WireSink
from midstream.hub.tail import Tail

logger = logging.getLogger(__name__)


class EventResponse(Response):
    """Server-sent events: what a tail reads. The response begins the tail and ends it.

    `opening` is sent first. `reset` is the reason for which the client has to forget what it has. `over` is called when
    the response is over, with whether the client has gone before the end. A client that takes nothing for
    `send_timeout_s` is cut, and so has gone.

    Attributes:
        tail: What it sends.
        sent: Whether all of it was sent, once it is over.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        tail: Tail,
        *,
        opening: bytes,
        reset: str | None = None,
        send_timeout_s: float,
        status: int = 200,
        headers: dict[str, str] | None = None,
        over: Callable[[bool], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        streaming = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(None, status, {**streaming, "Stream-Id": tail.stream_id, **(headers or {})})
        del self.headers["content-length"]
        self.opening = opening
        self.tail = tail
        self.sent = False
        self._over = over
        self._reset = reset
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the tail has ended or the client is gone; where there is a wire, leave that to it."""
        wire = wire_of(scope)
        try:
            bare = wire is not None and wire.bare
            if wire is not None:
                wire.begin()
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if wire is None:
                await self._send_all(receive, send)
            else:
                # Nothing of this response is kept for a tail that stays for long, unless somebody waits for its end.
                over = None if self._over is None else functools.partial(self._run_over, wire)
                sink = (BareSink if bare else WireSink)(wire, self.tail, self._send_timeout_s, over)
                self.tail.begin(sink, self._reset, opening=self.opening)
        except BaseException:
            self.tail.fail()
            raise

    async def _send_all(self, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        timed_out = False

        def cut() -> None:
            nonlocal timed_out
            timed_out = True
            if task is not None:
                task.cancel()

        sink = SendSink(send, self.tail, self._send_timeout_s, cut)
        try:
            self.tail.begin(sink, self._reset, opening=self.opening)
            # `receive` returns when the client has gone, or when the last chunk was sent (ASGI).
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not timed_out:
                raise
            if not self.tail.failed:
                logger.info("a tail took nothing for %g s and was cut", self._send_timeout_s)
        finally:
            sink.drop()
            self.sent = sink.sent
            gone = not self.tail.closed
            self.tail.close()
        if self._over is not None:
            await self._over(gone)

    def _run_over(self, wire: Wire, sent: bool) -> None:
        self.sent = sent
        if self._over is not None:
            wire.run(self._over(not self.tail.closed))
