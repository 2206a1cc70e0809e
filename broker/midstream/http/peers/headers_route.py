"""Routes whose answers carry headers that were decided on while the request was handled."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response

from midstream.http.json_route import JsonRoute


class HeadersRoute(JsonRoute):
    """A route that puts the headers that `add_headers` was called with on the answer, whichever handler makes it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        handle = super().get_route_handler()

        async def handle_with_headers(request: Request) -> Response:
            response = await handle(request)
            response.headers.update(getattr(request.state, "added_headers", {}))
            return response

        return handle_with_headers


def add_headers(request: Request, headers: Mapping[str, str]) -> None:
    """Have the answer to a request carry these headers, if it is no error."""
    request.state.added_headers = {**getattr(request.state, "added_headers", {}), **headers}
