"""Hands requests of an app over to our endpoints, below whatever prefix the app has for them."""

from collections import deque
from typing import Final
from urllib.parse import quote

from fastapi import Response
from starlette.types import Message, Receive, Scope, Send

from midstream.access.app_caller import Caller
from midstream.access.host_names import host_name
from midstream.http.app import BrokerApp
from midstream.http.auth import admit
from midstream.http.head import head_of
from midstream.http.in_app.caller_dependency import CallerDependency
from midstream.http.in_app.own_services import OwnServices
from midstream.http.page_guard import SAFE_METHODS, foreign_page
from midstream.http.prefix import PREFIX
from midstream.http.problems import Problem

_OF_SERVER: Final = (
    *("type", "asgi", "http_version", "method", "scheme", "query_string", "headers", "client", "server"),
    *("extensions", "subprotocols"),
)
"""What the server says of a request. All else in its scope is the app's own, such as its routes."""
OF_BROWSERS: Final = (b"basic", b"digest", b"negotiate", b"ntlm")
"""Schemes of `Authorization` by which a browser that has signed in sends credentials of itself, as it does cookies."""


class Doors:
    """Our endpoints, as an ASGI app that asks another app who calls.

    Args:
        endpoints: Answers; its service layer is set here.
        services: Opens that.
        dependency: Says who calls.
        origins: Those whose pages may change something by what a browser adds to their requests, besides those of the
            same site.
    """

    def __init__(
        self, endpoints: BrokerApp, services: OwnServices, dependency: CallerDependency, origins: tuple[str, ...]
    ) -> None:
        self._endpoints = endpoints
        self._services = services
        self._dependency = dependency
        self._origins = origins

    async def open_to_all(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for what is public."""
        self._endpoints.services = await self._services.opened()
        await self._endpoints(_inner(scope, path), receive, send)

    async def answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whose path is `path` without the app's prefix."""
        self._endpoints.services = services = await self._services.opened()
        inner, body = _inner(scope, path), _Body(receive)
        admit(inner, services, await self._word_on(scope, body))
        await self._endpoints(inner, body.again if body.was_read else receive, send)

    async def _word_on(self, scope: Scope, body: "_Body") -> Caller | Problem:
        return self._foreign(scope) or await self._dependency.ask(scope, body.first)

    def _foreign(self, scope: Scope) -> Problem | None:
        """Return the refusal of another site's page that would change something by what its user's browser adds."""
        head = head_of(scope)
        scheme = head.get(b"authorization", b"").partition(b" ")[0].lower()
        by_browser = b"cookie" in head or scheme in OF_BROWSERS
        if not by_browser or scope.get("method") in SAFE_METHODS:  # a socket has no method
            return None
        origin = head.get(b"origin", b"").decode("latin-1")
        if not {origin, "*"}.isdisjoint(self._origins):
            return None
        site = head.get(b"sec-fetch-site")
        if site is not None:
            return foreign_page() if site == b"cross-site" else None
        host = head.get(b"host", b"").decode("latin-1")
        return foreign_page() if origin and host_name(origin.partition("://")[2]) != host_name(host) else None


class HandOver(Response):
    """A response of the app's that our endpoints send: body, head and frames pass as they are."""

    def __init__(self, doors: Doors, path: str, *, is_public: bool = False) -> None:
        super().__init__()
        self._send = doors.open_to_all if is_public else doors.answer
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await self._send(self._path, scope, receive, send)


class _Body:
    """A request's body, which the app's dependency may read before our endpoints do (a signature over it).

    It is held no longer than the dependency's own `Request` holds it, and is the same bytes.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: deque[Message] = deque()
        self.was_read = False

    async def first(self) -> Message:
        message = await self._receive()
        self.was_read = True
        self._read.append(message)
        return message

    async def again(self) -> Message:
        return self._read.popleft() if self._read else await self._receive()


def _inner(scope: Scope, path: str) -> Scope:
    """Return the scope of a request as our endpoints see it: theirs is the whole path."""
    inner = {name: scope[name] for name in _OF_SERVER if name in scope}
    base = scope["path"].rpartition(path)[0]  # a route's pattern leaves out a last line feed, so it may not be the end
    root = str(scope.get("root_path", "")).rstrip("/")  # of a proxy, or of what the app is mounted below
    if not f"{base}/".startswith(f"{root}/"):  # servers that put it into the path differ from those that do not
        base = root + base
    return inner | {"path": path, "raw_path": path.encode(), "root_path": "", PREFIX: quote(base)}
