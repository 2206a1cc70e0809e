"""Asks an app's own dependency who the sender of a request is (PROTOCOL: Router/Caller)."""

from collections.abc import Callable
from typing import Annotated, Any, Final
from weakref import WeakKeyDictionary

import orjson
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope

from midstream.access.app_caller import Caller
from midstream.http.head import head_of
from midstream.http.problems import Problem

NAMED: Final = "midstream.named"
MOST_REFUSAL_BYTES: Final = 65_536
KEPT_HEADERS: Final = ("www-authenticate", "retry-after")
_AS_HTTP: Final = {"ws": "http", "wss": "https"}


class CallerDependency:
    """Runs the dependency as FastAPI does for a route of the app's: with its parameters, overrides and error handlers.

    It runs as a request of its own, which is over before the answer begins. So a dependency with `yield`, such as a
    session of a database, is not held for as long as a tail lasts, and a WebSocket's is asked like any other: most
    dependencies want a `Request`, which a WebSocket is not.

    Args:
        dependency: Returns the name of a user, or a `Caller`.
    """

    def __init__(self, dependency: Callable[..., Any]) -> None:
        self._dependency = dependency
        self._routes: WeakKeyDictionary[Any, dict[tuple[str, ...], APIRoute]] = WeakKeyDictionary()

    async def ask(self, scope: Scope, receive: Receive) -> Caller | Problem:
        """Return who sends a request, or the problem by which the app refuses it.

        Raises:
            TypeError: The dependency returned something else.
        """
        request = {**scope, "type": "http", "method": scope.get("method", "GET")}
        request["scheme"] = _AS_HTTP.get(scope["scheme"], scope["scheme"])
        answer = _Answer()
        await self._route(scope).app(request, receive if scope["type"] == "http" else _no_body, answer.take)
        return _caller_of(request[NAMED]) if NAMED in request else answer.problem()

    def _route(self, scope: Scope) -> APIRoute:
        """Return the route that stands for a request's; those of one app and of the same path parameters share one."""
        app, names = scope["app"], tuple(scope["path_params"])
        routes = self._routes.setdefault(app, {})
        route = routes.get(names)
        if route is None:

            async def note(request: Request, name: Annotated[Any, Depends(self._dependency)]) -> Response:
                request.scope[NAMED] = name
                return Response(status_code=204)

            path = "".join(f"/{{{name}}}" for name in names) or "/"
            route = routes[names] = APIRoute(path, note, dependency_overrides_provider=app, response_model=None)
        return route


class _Answer:
    """What the app answers instead where its dependency refuses."""

    def __init__(self) -> None:
        self._status = 401
        self._headers: dict[bytes, bytes] = {}
        self._body = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = head_of({"headers": message["headers"]})
        elif message["type"] == "http.response.body" and len(self._body) <= MOST_REFUSAL_BYTES:
            self._body += message.get("body", b"")

    def problem(self) -> Problem:
        """Return the problem in our words; a page to sign in at is of no use to a program."""
        status = self._status if self._status >= 400 else 401  # noqa: PLR2004
        kept = {
            name: self._headers[name.encode()].decode("latin-1")
            for name in KEPT_HEADERS
            if name.encode() in self._headers
        }
        return Problem(status, "unauthorized" if status == 401 else "caller_refused", self._detail(), headers=kept)  # noqa: PLR2004

    def _detail(self) -> str:
        try:
            detail = orjson.loads(self._body)["detail"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            detail = None
        return detail if isinstance(detail, str) else "The app does not take this request."


def _caller_of(name: Any) -> Caller | Problem:
    if isinstance(name, Caller):
        return name
    if isinstance(name, str):
        return Caller.of_user(name)
    if name is None:
        return Problem(401, "unauthorized", "The app knows no user who sends this request.")
    kind = type(name).__name__
    raise TypeError(f"the dependency `caller` has to return a user's name or a midstream.Caller, and returned a {kind}")


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
