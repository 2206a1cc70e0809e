"""The limits on requests' bodies, for every route at once (PROTOCOL: Http/Body)."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.problems import RETRY_AFTER_S, Problem
from midstream.settings import Settings

LINGER_BYTES: Final = 16_777_216
"""How much is read of a body that is too large, so that its sender comes to read the answer."""
SMALL_BODY_BYTES: Final = 65_536
"""The largest body of a request that carries no content, such as a cancel."""
CONTENT_PATHS: Final = frozenset(
    (
        *("/v1/streams", "/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"),
        *("/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"),
    )
)
"""Paths that take conversations. With each turn the whole of it is sent, with the images in it."""
MAX_LENGTH_DIGITS: Final = 18


class BodyLimit:
    """Answers 413 to a body that is too large, announced or not, and 503 where all bodies that are held would be.

    A body counts until its request is answered, even if the answer takes long.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._content_bytes = settings.max_body_bytes
        self._total_bytes = max(settings.max_bodies_bytes, settings.max_body_bytes)
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        limit_bytes = self._content_bytes
        if scope["path"] not in CONTENT_PATHS:
            limit_bytes = min(limit_bytes, SMALL_BODY_BYTES)
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or len(announced) > MAX_LENGTH_DIGITS or int(announced) > limit_bytes:
            await _discard(receive)
            await _too_large(limit_bytes).response(scope)(scope, receive, send)
            return
        seen_bytes = 0

        async def counted() -> Message:
            nonlocal seen_bytes
            message = await receive()
            more_bytes = len(message.get("body", b""))
            seen_bytes += more_bytes
            self._held_bytes += more_bytes
            if seen_bytes > limit_bytes or self._held_bytes > self._total_bytes:
                refusal = _too_large(limit_bytes) if seen_bytes > limit_bytes else _too_many()
                if message.get("more_body"):
                    await _discard(receive)
                raise refusal
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._held_bytes -= seen_bytes


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
    while left_bytes > 0:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
        left_bytes -= len(message["body"])
