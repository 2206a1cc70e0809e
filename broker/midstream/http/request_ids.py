"""Every answer names its request, in the header that each peer's SDK reads (PROTOCOL: Http/Request ids)."""

import random
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final = (b"x-request-id", b"request-id")
"""The name that OpenAI gives it, and the one that Anthropic does."""
_ID: Final = "midstream.request_id"
_ID_BITS: Final = 96


def request_id(scope: Scope) -> str:
    """Return the request's id; the first call makes it."""
    its_id: str | None = scope.get(_ID)
    if its_id is None:  # no secret: it need only differ from other requests' ids, for a tenth of a secret's price
        its_id = scope[_ID] = f"req_{random.getrandbits(_ID_BITS):024x}"
    return its_id


def headers_of(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the headers that name a request."""
    value = (scope.get(_ID) or request_id(scope)).encode()  # each tail has one by now
    return [(HEADERS[0], value), (HEADERS[1], value)]


class RequestIds:
    """Puts the request's id on each answer of the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if HEADERS[0] not in dict(headers):
                    headers += headers_of(scope)
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, send_with_id)
