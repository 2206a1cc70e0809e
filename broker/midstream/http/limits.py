"""The limit on a request's body, for every route at once."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.problems import Problem

LINGER_BYTES: Final = 16_777_216
"""What is read of a body that is too large, so that its sender gets to read the answer."""


class BodyLimit:
    """Answers 413 to a body over `max_body_bytes`, whether or not its length was announced."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._max_body_bytes:
            await _discard(receive)
            await self._too_large().response(scope)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_body_bytes:
                if message.get("more_body"):
                    await _discard(receive)
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> Problem:
        detail = f"The body is larger than {self._max_body_bytes} bytes (MIDSTREAM_MAX_BODY_BYTES)."
        # The rest of the body may not have been read, so the connection cannot be used again.
        return Problem(413, "body_too_large", detail, headers={"Connection": "close"}, limit=self._max_body_bytes)


async def _discard(receive: Receive) -> None:
    """Read the rest of a body, up to a limit: a client that is still sending would be reset before it reads why."""
    left_bytes = LINGER_BYTES
    while left_bytes > 0:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
        left_bytes -= len(message["body"])
