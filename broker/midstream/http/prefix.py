"""The path below which an app serves our endpoints (PROTOCOL: Router/Prefix); empty for a broker's own process."""

from typing import Final

from starlette.types import Scope

PREFIX: Final = "midstream.prefix"
"""Where the scope of a request to such an app holds it."""


def address_of(scope: Scope, stream_id: str) -> str:
    """Return the path of a stream, as the sender of a request has to ask for it."""
    return f"{scope.get(PREFIX, '')}/v1/streams/{stream_id}"
