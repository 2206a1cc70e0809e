"""Bounds on what comes before a request can be read: its connection, the size of its head, and the time that it takes.

uvicorn's protocol has none of them. Every byte of a head is kept, and parsed anew as it grows, before anybody is asked
for a key; so these bounds belong here and not to the app.
"""

import asyncio
import functools
from http import HTTPStatus
from typing import Any, Final

import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from midstream import counters
from midstream.http.fast_path.connection_start import QuickStart
from midstream.http.fast_path.connections import Connections, Queue

LINGER_BYTES: Final = 16_777_216
"""How much is read of a client that was refused."""
RETRY_AFTER_S: Final = 1
MOST_PIPELINED: Final = 32
"""Requests that wait after the one that is answered. Each costs some KiB, and a client may send it in 18 bytes."""


class HeadTooLargeError(Exception):
    """Raised in a callback of the parser, which stops then."""


class TooManyRequestsError(Exception):
    """Raised in a callback of the parser, which stops then."""


class UnfitUpgradeError(Exception):
    """Raised in a callback of the parser, which stops then."""


class BoundedHeads(QuickStart):
    """Refuses heads that are larger than `max_head_bytes`, or not there in time after they began.

    Trailers and the lines between a body's chunks count as heads do.

    Attributes:
        all_connections: Those of the server; it also knows the times.
        waits_in: Where this connection waits, if it has no request in progress.
    """

    max_head_bytes = 65_536
    all_connections: Connections
    waits_in: Queue | None = None
    _in_head = True
    _loose_bytes = 0
    """Bytes that came since the last piece of a body, or the end of a head, in whole reads."""
    _refused_bytes: int | None = None

    @classmethod
    def bounded(cls, max_head_bytes: int, all_connections: Connections) -> "type[BoundedHeads]":
        """Return this protocol with bounds."""
        return type(cls.__name__, (cls,), {"max_head_bytes": max_head_bytes, "all_connections": all_connections})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and wait for a head."""
        super().connection_made(transport)
        code = self.all_connections.opened(self)
        if code is not None:
            detail = "Too many clients are connected here; try again (MIDSTREAM_MAX_CONNECTIONS)."
            self._refuse(503, code, detail)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._refused_bytes is not None:
            self._refused_bytes += len(data)
            if self._refused_bytes > LINGER_BYTES:
                self.transport.abort()
            return
        self._loose_bytes += len(data)
        super().data_received(data)
        if self._loose_bytes > self.max_head_bytes:
            self._refuse_size()
        elif self._in_head and self._loose_bytes and self.waits_in is self.all_connections.idle:
            self.all_connections.wait(self, self.all_connections.heads)

    def on_headers_complete(self) -> None:
        """Begin a request, unless its head is too large without what was read with it."""
        if self._loose_bytes > self.max_head_bytes:
            head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head_bytes > self.max_head_bytes:
                raise HeadTooLargeError
        if len(self.pipeline) >= MOST_PIPELINED:
            counters.count("refused", "too_many_ahead")
            raise TooManyRequestsError
        self._in_head = False
        self._loose_bytes = 0
        self.all_connections.proceed(self)
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:  # none is made for a WebSocket, whose headers are read once more
            self.headers = []  # trailers have no reader: they must not come into the request's scope
        else:
            self._check_upgrade()

    def _check_upgrade(self) -> None:
        """Let a WebSocket be opened by a GET without a body alone, when all requests before it are answered.

        uvicorn waits for a body with no request in progress, in which nothing times it, and then leaves another method
        than GET without an answer. It opens the socket at once where requests wait, whose answers then come in it.
        """
        has_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        )
        if has_body or self.scope["method"] != "GET" or self.is_answering():
            raise UnfitUpgradeError

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Have a request answered, in this turn of the event loop or in one of the next."""
        turns = self.all_connections.turns
        if turns.admits(cycle.scope["method"]):
            super()._start_asgi_task(cycle, app)
        else:
            turns.put_off(cycle.scope, functools.partial(super()._start_asgi_task, cycle, app))

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete: a head comes next."""
        self._loose_bytes = 0
        self._in_head = True
        if self.waits_in is self.all_connections.bodies:
            self.all_connections.wait(self, self.all_connections.idle)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The request is answered. The rest of its body may be to come, and of the answer to go."""
        every = self.all_connections
        if not self.pipeline:
            every.wait(self, every.bodies if not self._in_head else every.heads if self._loose_bytes else every.idle)
        if self.transport.get_write_buffer_size():
            every.unsent(self)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client lags."""
        self.all_connections.unsent(self)
        super().pause_writing()

    def eof_received(self) -> None:
        """The client is leaving."""
        if self._refused_bytes is not None:
            self.transport.close()
        else:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self.all_connections.closed(self)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed; in the middle of another answer that could not be read, so that is cut."""
        if self.is_answering():
            self.transport.abort()
        elif self._loose_bytes > self.max_head_bytes:
            self._refuse_size()
        else:
            super().send_400_response(msg)

    def is_answering(self) -> bool:
        """Whether a response is on its way, or a request waits for one."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.disconnected

    def shutdown(self) -> None:
        """Uvicorn stops. It waits for no request that has not come whole: such a one has had no effect yet."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and cycle.more_body and not cycle.response_started:
            cycle.disconnected = True
            cycle.message_event.set()
            self._refuse(503, "stopping", "This broker is stopping; the same request again goes to another.")
        else:
            super().shutdown()

    def _refuse_size(self) -> None:
        limit = self.max_head_bytes
        detail = f"The head of the request is larger than {limit} bytes (MIDSTREAM_MAX_HEAD_BYTES)."
        self._refuse(431, "head_too_large", detail, limit=limit)

    def time_out(self) -> None:
        """It has waited for too long: for a head, for the rest of a body, or for the client to read a refusal."""
        every = self.all_connections
        if self.waits_in is every.heads and self._loose_bytes:
            limit = f"{every.heads.limit_s:g} s (MIDSTREAM_HEAD_TIMEOUT_MS)"
            self._refuse(408, "head_timeout", f"The head of the request did not come within {limit}.")
        elif self.waits_in is every.bodies or self.waits_in is every.refused:
            if self.waits_in is every.bodies:
                counters.count("refused", "body_timeout")
            self.transport.abort()
        else:  # it asked for nothing, or for nothing more
            if self.waits_in is every.heads:
                counters.count("refused", "silent")
            every.proceed(self)
            self.transport.close()

    def _refuse(self, status: int, code: str, detail: str, **facts: Any) -> None:
        """Answer why, and close; a refusal in the middle of another answer could not be read, so that is cut."""
        if self._refused_bytes is not None or self.transport.is_closing():
            return
        counters.count("refused", code)
        if self.is_answering():
            self.transport.abort()
            return
        self._refused_bytes = 0
        self.flow.resume_reading()
        title = HTTPStatus(status).phrase
        document = {"type": f"urn:midstream:{code}", "title": title, "status": status, "detail": detail, "code": code}
        body = orjson.dumps(document | facts)
        retry = f"retry-after: {RETRY_AFTER_S}\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n{retry}connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if not self.all_connections.refuse(self):
            self.transport.close()
        elif self.transport.can_write_eof():  # TLS cannot
            self.transport.write_eof()
