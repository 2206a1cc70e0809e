"""The limits on requests' bodies, for every route at once (PROTOCOL: Http/Body, Http/Slow bodies)."""

import asyncio
import contextlib
import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream import counters
from midstream.access.refusals import LimitExceededError
from midstream.http.noted_errors import CALLER, noted
from midstream.http.problems import RETRY_AFTER_S, Problem
from midstream.service.caller import Caller
from midstream.settings import Settings

LINGER_BYTES: Final = 16_777_216
DISCARD_S: Final = 10.0
"""How much is read of a body that is refused, and for how long, so that its sender comes to read the answer."""
SMALL_BODY_BYTES: Final = 65_536
"""The largest body of a request that carries no content, such as a cancel."""
CONTENT_PATHS: Final = frozenset(
    (
        *("/v1/streams", "/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"),
        *("/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"),
    )
)
"""Paths that take conversations. With each turn the whole of it is sent, with the images in it."""
ENTRIES_PATH: Final = re.compile("/v1/streams/[^/]+/entries")
MAX_LENGTH_DIGITS: Final = 18


class BodyLimit:
    """Answers 413 to a body that is too large, announced or not, and 503 where all bodies that are held would be.

    A body that comes too slowly is answered 408. A body counts until its request is answered, even if the answer takes
    long.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._content_bytes = settings.max_body_bytes
        self._total_bytes = max(settings.max_bodies_bytes, settings.max_body_bytes)
        self._held_bytes = 0
        self._period_s = settings.body_timeout_ms / 1_000
        self._least_bytes_per_s = settings.min_body_bytes_per_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        limit_bytes = self._content_bytes
        if scope["path"] not in CONTENT_PATHS and not ENTRIES_PATH.fullmatch(scope["path"]):
            limit_bytes = min(limit_bytes, SMALL_BODY_BYTES)
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or len(announced) > MAX_LENGTH_DIGITS or int(announced) > limit_bytes:
            await _discard(receive)
            await _counted(_too_large(limit_bytes)).response(scope)(scope, receive, send)
            return
        seen_bytes = 0
        timed = TimedBody(receive, self._period_s, self._period_s * self._least_bytes_per_s)
        places = contextlib.ExitStack()  # of its tenant's bodies

        async def counted() -> Message:
            nonlocal seen_bytes
            try:
                message = await timed.receive()
            except TimeoutError:
                raise _counted(self._too_slow()) from None
            more_bytes = len(message.get("body", b""))
            seen_bytes += more_bytes
            self._held_bytes += more_bytes
            try:
                _hold(places, scope, more_bytes)
            except LimitExceededError as error:
                if message.get("more_body"):
                    await _discard(receive)
                raise noted(error, scope) from error
            if seen_bytes > limit_bytes or self._held_bytes > self._total_bytes:
                refusal = _too_large(limit_bytes) if seen_bytes > limit_bytes else _too_many()
                if message.get("more_body"):
                    await _discard(receive)
                raise _counted(refusal)
            return message

        try:
            with places:
                await self._app(scope, counted, send)
        finally:
            self._held_bytes -= seen_bytes

    def _too_slow(self) -> Problem:
        detail = (
            f"In {self._period_s:g} s neither the rest of the body came nor {self._least_bytes_per_s} bytes for each "
            "second (MIDSTREAM_BODY_TIMEOUT_MS, MIDSTREAM_MIN_BODY_BYTES_PER_S)."
        )
        return Problem(408, "body_timeout", detail, headers={"Connection": "close"})


class TimedBody:
    """Reads a body of which something has to arrive in each period, counted from the first read.

    Args:
        receive: Returns the next part.
        period_s: The length of a period.
        least_bytes: What has to arrive in a period, unless the rest of the body does.
    """

    def __init__(self, receive: Receive, period_s: float, least_bytes: float) -> None:
        self._receive = receive
        self._period_s = period_s
        self._least_bytes = least_bytes
        self._until_s: float | None = None
        self._came_bytes = 0
        self._is_whole = False

    async def receive(self) -> Message:
        """Return the next part; what comes after the last one (the client leaves) may take any time.

        Raises:
            TimeoutError: Too little has come.
        """
        if self._is_whole:
            return await self._receive()
        now_s = asyncio.get_running_loop().time()
        if self._until_s is None or self._came_bytes >= self._least_bytes:
            self._until_s = now_s + self._period_s
            self._came_bytes = 0
        async with asyncio.timeout_at(self._until_s):
            message = await self._receive()
        self._came_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        return message


def _hold(places: contextlib.ExitStack, scope: Scope, more_bytes: int) -> None:
    """Hold the room of a part of a body among its tenant's; nothing is read before the credential was verified."""
    caller: Caller | None = scope.get(CALLER)
    if caller is not None and more_bytes:
        places.enter_context(caller.body(more_bytes))


def _counted(refusal: Problem) -> Problem:
    counters.count("refused", refusal.code)
    return refusal


def _too_large(limit_bytes: int) -> Problem:
    detail = f"The body is larger than {limit_bytes} bytes"
    detail += "." if limit_bytes == SMALL_BODY_BYTES else " (MIDSTREAM_MAX_BODY_BYTES)."
    # The rest of the body may not have been read, so the connection cannot be used again.
    return Problem(413, "body_too_large", detail, headers={"Connection": "close"}, limit=limit_bytes)


def _too_many() -> Problem:
    detail = "Too many large requests are under way here (MIDSTREAM_MAX_BODIES_BYTES); try again."
    return Problem(503, "busy", detail, headers={"Connection": "close", "Retry-After": str(RETRY_AFTER_S)})


async def _discard(receive: Receive) -> None:
    """Read the rest of a body, up to a limit: a client that still sends would be reset before it reads the answer."""
    left_bytes = LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            while left_bytes > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
                left_bytes -= len(message["body"])
