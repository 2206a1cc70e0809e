"""A response that is one tail: frames go out as they come, at the client's pace, until the end or a disconnect."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.faces.face import Face
from broker.http.sinks import SendSink, WireSink
from broker.http.wire import wire_of
from broker.hub.follower import Follower

logger = logging.getLogger(__name__)


class EventResponse(Response):
    """Server-sent events of one stream behind offset `after`.

    `opening` is sent first. `left` is called when the client goes before the end. A client that takes nothing for
    `send_timeout_s` is cut.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        follower: Follower,
        face: Face,
        *,
        after: int,
        until: int | None,
        opening: bytes,
        reset: str | None = None,
        send_timeout_s: float,
        status: int = 200,
        headers: dict[str, str] | None = None,
        left: Callable[[], Coroutine[Any, Any, object]] | None = None,
    ) -> None:
        streaming = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(None, status, {**streaming, "Stream-Id": follower.stream_id, **(headers or {})})
        del self.headers["content-length"]
        self.opening = opening
        self._left = left
        self._reset = reset
        self._send_timeout_s = send_timeout_s
        # Joined here, without an await since the follower was opened: from now on it stays open.
        self._tail = follower.join(face, after, until)

    def drop(self) -> None:
        """Give up a response that is not sent after all."""
        self._tail.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the tail has ended or the client is gone."""
        task = asyncio.current_task()
        wire = wire_of(scope)
        timed_out = False

        def cut() -> None:
            nonlocal timed_out
            timed_out = True
            if wire is not None:
                wire.abort()
            elif task is not None:
                task.cancel()

        limit_s = self._send_timeout_s
        sink = SendSink(send, limit_s, cut) if wire is None else WireSink(wire, send, limit_s, cut)
        sink.tail = self._tail
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            self.raw_headers = []  # sent; a tail stays for long
            self._tail.begin(sink, self._reset, opening=self.opening)
            # `receive` returns when the client has gone, or when the last chunk was sent (ASGI).
            while (await receive())["type"] != "http.disconnect":
                pass
            if self._left is not None and not self._tail.closed:
                await self._left()
        except asyncio.CancelledError:
            if not timed_out:
                raise
        finally:
            if timed_out:
                logger.info("a tail took nothing for %g s and was cut", limit_s)
            sink.drop()
            self._tail.close()
