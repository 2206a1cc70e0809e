"""Routes whose answers carry headers that were noted on the way to them."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response

from midstream.http.json_route import JsonRoute


class NotedRoute(JsonRoute):
    """A route that puts what was noted of its request on the answer, whichever of its ways leads to it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        handle = super().get_route_handler()

        async def noting(request: Request) -> Response:
            response = await handle(request)
            response.headers.update(getattr(request.state, "noted", {}))
            return response

        return noting


def note(request: Request, headers: Mapping[str, str]) -> None:
    """Have the answer to a request carry these headers, if it is no error."""
    request.state.noted = {**getattr(request.state, "noted", {}), **headers}
