"""Whether the answers to SDKs' tries were delivered; no retry joins a delivered one (PROTOCOL: Faces/Retries)."""

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.fast_path.wire import Wire, wire_of
from midstream.service.retries import Try

CLIENT_GONE: Final = 499
"""The status of an answer that nobody reads, because its client has left."""
DOUBT_S: Final = 1.0
"""A client that goes so soon after an answer may have left before the answer reached it."""
_TRY: Final = "midstream.try"


def expect(scope: Scope, this_try: Try) -> None:
    """Note that a request is a try, which is to be finished when its answer is over."""
    scope[_TRY] = this_try


def take(scope: Scope) -> Try | None:
    """Return the request's try, if it is one; from now on the caller has to finish it."""
    this_try: Try | None = scope.pop(_TRY, None)
    return this_try


class Deliveries:
    """Finishes each try when its answer is over. It is delivered if all of it was handed to an open connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        whole = final = False

        async def watched_send(message: Message) -> None:
            nonlocal whole, final
            if message["type"] == "http.response.start":
                final = _is_final(message["status"], Headers(raw=message["headers"]))
            await send(message)
            whole = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self._app(scope, receive, watched_send)
        finally:
            this_try = take(scope)
            if this_try is not None:
                await finish(lasting_wire(scope), this_try, delivered=whole and final)


async def finish(wire: Wire | None, this_try: Try, *, delivered: bool) -> None:
    """Finish a try; if its connection closes right after it was handed the answer, it was not delivered after all."""
    if wire is None or not delivered:
        await this_try.finish(delivered=delivered)
        return
    gone = wire.gone
    await this_try.finish(delivered=not gone)
    if gone:
        return
    until = asyncio.get_running_loop().time() + DOUBT_S

    def doubt() -> None:
        if asyncio.get_running_loop().time() < until:
            wire.run(this_try.finish(delivered=False))

    wire.watch(doubt)


def lasting_wire(scope: Scope) -> Wire | None:
    """Return the request's connection, if it is known and stays open after the answer unless the client closes it."""
    wire = wire_of(scope)
    return None if Headers(scope=scope).get("connection", "").lower() == "close" else wire


def _is_final(status: int, headers: Headers) -> bool:
    """Tell whether an answer is the request's last one, and does not ask for the same request once more."""
    return status != CLIENT_GONE and (status < 500 or headers.get("x-should-retry") == "false")  # noqa: PLR2004
