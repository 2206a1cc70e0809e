"""midstream: a resumable stream broker with a durable event log.

`from midstream import Midstream` is the Python client, and `from midstream.sync import Midstream` is the same for
programs without an event loop and for notebooks. The client is imported at its first use, so that a program that needs
one room of this package does not pay for another.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midstream.client.client import Midstream, MidstreamError

__all__ = ["Midstream", "MidstreamError"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from midstream.client import client  # noqa: PLC0415

    return getattr(client, name)
