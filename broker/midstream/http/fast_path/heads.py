"""Bounds on what comes before a request can be read: the size of its head, and the time that it takes.

uvicorn's protocol has neither. Every byte of a head is kept, and parsed anew as it grows, before anybody is asked for
a key; so these bounds belong here and not to the app.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LINGER_S: Final = 1.0
LINGER_BYTES: Final = 16_777_216
"""What is read after a refusal, and for how long: a client that is reset while it sends may never read the refusal."""
RETRY_AFTER_S: Final = 1


class HeadTooLargeError(Exception):
    """Raised in a callback of the parser, which stops then."""


class BoundedHeads(HttpToolsProtocol):
    """Refuses heads that are larger than `max_head_bytes`, or not there `head_timeout_s` after they began.

    Trailers and the lines between a body's chunks count as heads do.
    """

    max_head_bytes = 65_536
    head_timeout_s = 10.0
    _in_head = True
    _loose_bytes = 0
    """Bytes that came since the last piece of a body, or the end of a head, in whole reads."""
    _deadline: asyncio.TimerHandle | None = None
    _refused_bytes: int | None = None

    @classmethod
    def bounded(cls, max_head_bytes: int, head_timeout_s: float) -> "type[BoundedHeads]":
        """Return this protocol with other bounds."""
        return type(cls.__name__, (cls,), {"max_head_bytes": max_head_bytes, "head_timeout_s": head_timeout_s})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and wait for a head."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.head_timeout_s, self._is_late)

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
        elif self._in_head and self._loose_bytes and self._deadline is None:
            self._deadline = self.loop.call_later(self.head_timeout_s, self._is_late)

    def on_headers_complete(self) -> None:
        """Begin a request, unless its head is too large without what was read with it."""
        if self._loose_bytes > self.max_head_bytes:
            head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head_bytes > self.max_head_bytes:
                raise HeadTooLargeError
        self._in_head = False
        self._loose_bytes = 0
        self._forget_deadline()
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer has no reader here."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete: a head comes next."""
        self._loose_bytes = 0
        self._in_head = True
        super().on_message_complete()

    def eof_received(self) -> None:
        """The client is leaving."""
        if self._refused_bytes is not None:
            self.transport.close()
        else:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._forget_deadline()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed."""
        if self._loose_bytes > self.max_head_bytes:
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

    def _is_late(self) -> None:
        self._deadline = None
        if self.is_answering():  # the next request's head, of which nothing may have been read meanwhile
            self._deadline = self.loop.call_later(self.head_timeout_s, self._is_late)
        elif not self._loose_bytes:
            self.transport.close()  # it never asked for anything
        else:
            limit = f"{self.head_timeout_s:g} s (MIDSTREAM_HEAD_TIMEOUT_MS)"
            self._refuse(408, "head_timeout", f"The head of the request did not come within {limit}.")

    def _refuse(self, status: int, code: str, detail: str, **facts: Any) -> None:
        """Answer why, and close; a refusal in the middle of another answer could not be read, so that is cut."""
        self._forget_deadline()
        if self._refused_bytes is not None or self.transport.is_closing():
            return
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
        if self.transport.can_write_eof():  # TLS cannot
            self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.abort)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
