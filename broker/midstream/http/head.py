"""A request's headers by their names. Starlette's own look goes through all of them, for each name anew."""

from typing import Final

from starlette.types import Scope

_HEAD: Final = "midstream.head"


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of the first header of a request that has this name, which is in lower case; None: none has."""
    by_name: dict[bytes, bytes] | None = scope.get(_HEAD)
    if by_name is None:
        by_name = scope[_HEAD] = dict(reversed(scope["headers"]))
    return by_name.get(name)
