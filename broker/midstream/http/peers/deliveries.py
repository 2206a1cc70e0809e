"""Whether the answers to SDKs' tries were delivered, for then no retry joins them (PROTOCOL: Faces/Retries)."""

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.fast_path.wire import EXTENSION, Wire
from midstream.service.retries import Try

CLIENT_GONE: Final = 499
"""The status of an answer that nobody reads any more."""
DOUBT_S: Final = 1.0
"""A client that goes so soon behind an answer may have left before it came."""
_TRY: Final = "midstream.try"


def expect(scope: Scope, attempt: Try) -> None:
    """Note that a request is a try, whose delivery is to be told."""
    scope[_TRY] = attempt


def taken(scope: Scope) -> Try | None:
    """Return the request's try, if it is one, to whoever tells its delivery in our place."""
    found: Try | None = scope.pop(_TRY, None)
    return found


class Deliveries:
    """Tells each try whether its answer, where it came whole, was handed to a connection that stood."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        whole = final = False

        async def watched(message: Message) -> None:
            nonlocal whole, final
            if message["type"] == "http.response.start":
                final = _is_final(message["status"], Headers(raw=message["headers"]))
            await send(message)
            whole = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self._app(scope, receive, watched)
        finally:
            attempt = taken(scope)
            if attempt is not None:
                await tell(lasting(scope), attempt, delivered=whole and final)


async def tell(wire: Wire | None, attempt: Try, *, delivered: bool) -> None:
    """Tell a try that its answer is over; one that was handed to a connection that closes at once is lost after all."""
    if wire is None or not delivered:
        await attempt.over(delivered=delivered)
        return
    gone = wire.gone
    await attempt.over(delivered=not gone)
    if gone:
        return
    until = asyncio.get_running_loop().time() + DOUBT_S

    def doubt() -> None:
        if asyncio.get_running_loop().time() < until:
            wire.run(attempt.over(delivered=False))

    wire.watch(doubt)


def lasting(scope: Scope) -> Wire | None:
    """Return the request's connection if it is known, and the client's to close."""
    wire: Wire | None = (scope.get("extensions") or {}).get(EXTENSION)
    return None if Headers(scope=scope).get("connection", "").lower() == "close" else wire


def _is_final(status: int, headers: Headers) -> bool:
    """Tell whether an answer is the request's last one: not where it says that the same request goes on."""
    return status != CLIENT_GONE and (status < 500 or headers.get("x-should-retry") == "false")  # noqa: PLR2004
