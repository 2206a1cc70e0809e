"""Which trace the log lines of a task belong to (PROTOCOL: Traces/Lines)."""

from contextvars import ContextVar
from typing import Final

TRACE_ID: Final = ContextVar("midstream_trace_id", default="")
"""The id of the trace, as 32 hex digits; empty: there is none. Tasks inherit it from the task that makes them."""
