"""A request's headers by their names. Starlette's own look goes through all of them, for each name anew."""

from typing import Final

from starlette.types import Scope

_HEAD: Final = "midstream.head"


def head_of(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers of a request by their names, which are in lower case; of several, the first one."""
    head: dict[bytes, bytes] | None = scope.get(_HEAD)
    if head is None:
        head = scope[_HEAD] = dict(reversed(scope["headers"]))
    return head
