"""midstream: a resumable stream broker with a durable event log.

`from midstream import Midstream` is the Python client, and `from midstream.sync import Midstream` is the same for
programs without an event loop and for notebooks. `midstream.produce` appends to a stream of one's own, and
`midstream.router` serves streams in a FastAPI app. `midstream.app` names a function that workers run. Each is
imported at its first use, so that a program that needs one room of this package does not pay for another.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midstream.access.app_caller import Caller
    from midstream.app_registry import app
    from midstream.attempts.app_context import AppContext, BlockingAppContext, UnfitStateError
    from midstream.attempts.steps import StepUnknownError, UnfitStepError
    from midstream.client.client import Midstream, MidstreamError
    from midstream.filters.filter import Blocked, Hold
    from midstream.filters.redaction import redact
    from midstream.http.in_app.router import router
    from midstream.producer.background import in_background
    from midstream.producer.entrance import produce
    from midstream.producer.produce_errors import Cancelled, ProduceError
    from midstream.producer.producer import Producer

__all__ = [
    "AppContext",
    "Blocked",
    "BlockingAppContext",
    "Caller",
    "Cancelled",
    "Hold",
    "Midstream",
    "MidstreamError",
    "ProduceError",
    "Producer",
    "StepUnknownError",
    "UnfitStateError",
    "UnfitStepError",
    "app",
    "in_background",
    "produce",
    "redact",
    "router",
]

_PLACES = {
    "Caller": "midstream.access.app_caller",
    "Midstream": "midstream.client.client",
    "MidstreamError": "midstream.client.client",
    "router": "midstream.http.in_app.router",
    "Blocked": "midstream.filters.filter",
    "Hold": "midstream.filters.filter",
    "redact": "midstream.filters.redaction",
    "app": "midstream.app_registry",
    "AppContext": "midstream.attempts.app_context",
    "BlockingAppContext": "midstream.attempts.app_context",
    "UnfitStateError": "midstream.attempts.app_context",
    "StepUnknownError": "midstream.attempts.steps",
    "UnfitStepError": "midstream.attempts.steps",
    "in_background": "midstream.producer.background",
    "produce": "midstream.producer.entrance",
    "Cancelled": "midstream.producer.produce_errors",
    "ProduceError": "midstream.producer.produce_errors",
    "Producer": "midstream.producer.producer",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
