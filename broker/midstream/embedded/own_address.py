"""Which log the routers of this process serve, for producers in the same process."""

import contextlib
from collections.abc import Iterator
from typing import Final

_OPEN: Final[list[str]] = []


@contextlib.contextmanager
def serving(address: str) -> Iterator[None]:
    """Note that a router of this process serves the log at an address."""
    _OPEN.append(address)
    try:
        yield
    finally:
        _OPEN.remove(address)


def own_address() -> str | None:
    """Return the address of the log that is served here; None where there is no router, or several have several."""
    return _OPEN[0] if len(set(_OPEN)) == 1 else None
