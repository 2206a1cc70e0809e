"""A response that is one tail: frames go out as they come, at the client's pace, until the end or a disconnect.

Each chunk is sent by stepping ASGI's `send` right where the entry arrived, so a thousand tails cost no
thousand wake-ups; only a send that has to wait for its client gets a task (FINDINGS 9).
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Generator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.faces.face import Face
from broker.hub.follower import Follower
from broker.hub.tail import Tail

logger = logging.getLogger(__name__)


class EventResponse(Response):
    """Server-sent events of one stream behind offset `after`.

    `opening` is sent first. A client that takes nothing for `send_timeout_s` is cut.
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
    ) -> None:
        streaming = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(None, status, {**streaming, "Stream-Id": follower.stream_id, **(headers or {})})
        del self.headers["content-length"]
        self._opening = opening
        self._reset = reset
        self._sink = _SendSink(send_timeout_s)
        # Joined here, without an await since the follower was opened: from now on it stays open.
        self._tail = follower.join(face, self._sink, after, until)
        self._sink.tail = self._tail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send until the tail has ended or the client is gone."""
        self._sink.task = asyncio.current_task()
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self._opening, "more_body": True})
            self._sink.begin(send)
            if self._reset is None:
                self._tail.pump()
            else:
                self._tail.restart(self._reset)
            # `receive` returns when the client has gone, or when the last chunk was sent (ASGI).
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not self._sink.timed_out:
                raise
            logger.info("a tail took nothing for too long and is cut")
        finally:
            self._tail.close()
            self._sink.drop()


class _SendSink:
    """Writes chunks to ASGI's `send`, at most one on its way at a time."""

    __slots__ = ("_closed", "_pending", "_send", "_timeout_s", "ready", "tail", "task", "timed_out")

    def __init__(self, timeout_s: float) -> None:
        self.ready = False
        self.tail: Tail
        self.task: asyncio.Task[Any] | None = None
        self.timed_out = False
        self._timeout_s = timeout_s
        self._send: Send | None = None
        self._pending: asyncio.Task[None] | None = None
        self._closed = False

    def begin(self, send: Send) -> None:
        """The response has started: take chunks."""
        self._send = send
        self.ready = True

    def write(self, chunk: bytes) -> None:
        """Send a chunk."""
        self._step({"type": "http.response.body", "body": chunk, "more_body": True})

    def close(self) -> None:
        """End the response behind what is on its way."""
        self._closed = True
        if self.ready:
            self._finish()

    def drop(self) -> None:
        """The response is over, however: forget what is on its way."""
        self.ready = False
        self._send = None
        if self._pending is not None:
            self._pending.cancel()

    def _finish(self) -> None:
        self._step({"type": "http.response.body", "body": b"", "more_body": False})

    def _step(self, message: dict[str, Any]) -> None:
        assert self._send is not None  # noqa: S101 - `ready` was true
        sending: Coroutine[Any, Any, None] = self._send(message)  # type: ignore[assignment]
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - one tail's broken connection must not reach the others
            logger.debug("a tail's connection broke: %r", error)
            self.ready = False
            return
        self.ready = False
        self._pending = asyncio.create_task(self._rest(sending, waits_for), name="slow tail")

    async def _rest(self, sending: Coroutine[Any, Any, None], waits_for: Any) -> None:
        """Finish a send that has to wait for its client, then go on."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await _Resumed(sending, waits_for)
        except TimeoutError:
            self.timed_out = True
            if self.task is not None:
                self.task.cancel()
            return
        except OSError as error:
            logger.debug("a slow tail's connection broke: %r", error)
            return
        finally:
            sending.close()
        self._pending = None
        self.ready = True
        if self._closed:
            self._finish()
        else:
            self.tail.pump()


class _Resumed:
    """Awaits the rest of a coroutine whose first step was made by hand and yielded `waits_for`."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        with contextlib.closing(self._coroutine):
            yield self._waits_for
            yield from self._coroutine.__await__()
