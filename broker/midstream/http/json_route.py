"""How a body is read: as strict JSON, no deeper than every later reader can follow (PROTOCOL: Http/Body)."""

import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from midstream.http.auth import caller_of, operator_of, services_of
from midstream.http.problems import Problem

_OTHER_BYTES: Final = bytes(set(range(256)) - set(b"[]{}"))
_AS_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_LONG_INTEGER: Final = re.compile(rb"(?<![0-9.eE+-])-?[0-9]{19,}(?![0-9.eE])")
_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1
_MAX_DIGITS: Final = 20
MAX_VALUES: Final = 500_000
"""The most values in one body. Small values cost most: 30 MB of empty lists take 8 s and half a gigabyte to read."""
MAX_QUOTES: Final = 4 * (MAX_VALUES + 1)
"""Two for each value, and two for its name."""


def read_json(body: bytes, max_depth: int) -> Any:
    """Return the value of a body. It can be stored, and be read back by a worker.

    Raises:
        Problem: 400 `body_too_deep`; 413 `body_too_large`: too many values; or 400 `bad_request`: no JSON, text that
            is no Unicode, an integer over 64 bits.
    """
    # Strings and values are counted first, which bounds what every later step costs that looks at each of them.
    # Escaped backslashes are removed first, so that a quote after a backslash is an escaped one.
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if unescaped.count(b'"') > MAX_QUOTES:
        raise _too_many_values()
    bare = b"".join(unescaped.split(b'"')[::2])  # without its strings
    brackets = bare.count(b"[") + bare.count(b"{")
    if bare.count(b",") + brackets > MAX_VALUES:
        raise _too_many_values()
    if brackets > max_depth and _is_deeper(bare, max_depth):
        detail = f"The body is nested deeper than {max_depth} levels (MIDSTREAM_MAX_DEPTH)."
        raise Problem(400, "body_too_deep", detail, limit=max_depth)
    for match in _LONG_INTEGER.finditer(bare):
        # A number of thousands of digits is not even converted, because that takes quadratic time.
        if len(match[0].lstrip(b"-")) > _MAX_DIGITS or not _MIN_INTEGER <= int(match[0]) <= _MAX_INTEGER:
            raise _malformed("It holds an integer of more than 64 bits.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(f"It is no JSON: {error.msg} at character {error.pos}.") from None


def _malformed(why: str) -> Problem:
    return Problem(400, "bad_request", f"The body cannot be read. {why}", errors=[{"at": "body", "message": why}])


def _too_many_values() -> Problem:
    return Problem(413, "body_too_large", f"The body holds more than {MAX_VALUES} values.", limit=MAX_VALUES)


def _is_deeper(bare: bytes, max_depth: int) -> bool:
    """Tell whether brackets are nested deeper than that, without a Python step for each of them."""
    brackets = bare.translate(_AS_SQUARE, _OTHER_BYTES)
    if 2 * brackets.count(b"[") < len(brackets):
        return False  # more of them close than open, so it is no JSON, and there may be millions of levels
    for _ in range(max_depth):
        fewer = brackets.replace(b"[]", b"")  # the innermost level of every branch
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    return b"[]" in brackets or brackets.count(b"[") > max_depth


class JsonRequest(Request):
    """A request whose body is read strictly."""

    async def json(self) -> Any:
        """Return the body's value. Raises as `read_json`."""
        return read_json(await self.body(), services_of(self.scope).settings.max_depth)


class JsonRoute(APIRoute):
    """A route whose body is read strictly; every route that takes a body is of this class."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler.

        FastAPI would read the body first, and look for a credential after that. So strangers could fill the memory.
        """
        handle = super().get_route_handler()
        guards = [
            look for look in (caller_of, operator_of) if look in {each.call for each in self.dependant.dependencies}
        ]

        async def handle_strictly(request: Request) -> Response:
            for guard in guards:
                await guard(request)
            return await handle(JsonRequest(request.scope, request.receive))

        return handle_strictly
