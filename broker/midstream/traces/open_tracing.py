"""Opens the traces of a process, where the variables of OpenTelemetry ask for them (PROTOCOL: Traces/Off)."""

import logging
import os
from typing import Literal

from midstream.traces.trace_settings import TraceSettings, is_traced
from midstream.traces.tracing import NO_TRACES, Tracing

logger = logging.getLogger(__name__)


def open_tracing(role: Literal["broker", "worker"], settings: TraceSettings) -> Tracing:
    """Return the traces of this process.

    What cannot be opened is logged, and the process runs without traces: the variables are often set for a whole
    cluster, and no stream depends on them.
    """
    if not is_traced(os.environ):
        return NO_TRACES
    try:
        from midstream.traces.otel_tracing import OtelTracing  # noqa: PLC0415 - off is free: nothing of it is imported

        return OtelTracing(role, settings.traces_exit_s)
    except ImportError as error:
        logger.error("no traces: OTEL_* variables ask for them; install midstream[otel] (%s)", error.name)  # noqa: TRY400
    except Exception as error:  # noqa: BLE001 - whatever the SDK makes of its variables
        logger.error("no traces: the OTEL_* variables cannot be used: %s", error)  # noqa: TRY400
    return NO_TRACES
