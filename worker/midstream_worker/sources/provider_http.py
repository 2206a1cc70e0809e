"""The HTTP client below the SDKs, which bounds what any provider can send."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx2

CONNECT_TIMEOUT_S: Final = 5.0
KEPT_S: Final = 2.0
"""Idle connections are closed before the server closes them (uvicorn, which most local servers use: after 5 s).

A call on a connection that the server is just closing breaks off, and it is unclear whether it was billed.
"""
MAX_ERROR_BYTES: Final = 65_536
"""The rest of an error's body is not read: its status is enough."""
_BLANK_LINES: Final = (b"\n\n", b"\n\r\n", b"\r\r")
_LONGEST_BLANK_LINE: Final = 3


class RefusedAnswerError(httpx2.TransportError):
    """We refuse to read on; the message says why.

    Attributes:
        code: PROTOCOL's failure code.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """How much of one answer is read."""

    event_bytes: int
    answer_bytes: int


def provider_client(limits: AnswerLimits, *, silence_s: float) -> httpx2.AsyncClient:
    """Return a client that never makes a generation wait for another one's connection.

    Args:
        limits: What an answer may measure; beyond them, reading it raises `RefusedAnswerError`.
        silence_s: The silence after which the generation ends the call; this client's own time-out comes later.
    """

    async def bound(response: httpx2.Response) -> None:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            # A few kilobytes of gzip can unpack to gigabytes, and our requests accept no compression.
            raise RefusedAnswerError("provider_error", "compressed its answer, which it was asked not to do")
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            response.stream = _Beginning(response.stream)
        else:
            response.stream = _Bounded(response.stream, limits, events=_asks_for_events(response.request))

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(silence_s + CONNECT_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=KEPT_S),
        headers={"Accept-Encoding": "identity"},
        # A redirect would send the prompt, and maybe the key, to an address that is not configured.
        follow_redirects=False,
        # This is a hook because a client with a transport of its own ignores HTTPS_PROXY.
        event_hooks={"response": [bound]},
    )


def _asks_for_events(request: httpx2.Request) -> bool:
    """Tell whether our request asks for events; the answer's own content type could be anything."""
    return bool(request.content) or request.url.params.get("stream") == "true"


class _Beginning(httpx2.AsyncByteStream):
    """The first bytes of a body."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left_bytes = MAX_ERROR_BYTES
        async for chunk in self._stream:
            yield chunk[:left_bytes]
            left_bytes -= len(chunk)
            if left_bytes <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Bounded(httpx2.AsyncByteStream):
    """A body that is read up to its limits. It is one document, or events that each end with a blank line."""

    def __init__(self, stream: httpx2.AsyncByteStream, limits: AnswerLimits, *, events: bool) -> None:
        self._stream = stream
        self._limits = limits
        self._ends = _BLANK_LINES if events else ()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        event_bytes = answer_bytes = 0
        before = b""
        async for chunk in self._stream:
            seen = before + chunk
            end_at = max((seen.rfind(blank_line) for blank_line in self._ends), default=-1)
            event_bytes = event_bytes + len(chunk) if end_at < 0 else len(seen) - end_at
            answer_bytes += len(chunk)
            before = seen[-(_LONGEST_BLANK_LINE - 1) :]
            if event_bytes > self._limits.event_bytes:
                raise _too_large("an event", "MIDSTREAM_MAX_PROVIDER_EVENT_BYTES")
            if answer_bytes > self._limits.answer_bytes:
                raise _too_large("an answer", "MIDSTREAM_MAX_PROVIDER_ANSWER_BYTES")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _too_large(what: str, setting: str) -> RefusedAnswerError:
    return RefusedAnswerError("output_too_large", f"sent {what} larger than {setting}")
