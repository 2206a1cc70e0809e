"""The settings of traces; `midstream.settings` holds them with all others. What they do is in the OTEL_* variables."""

from collections.abc import Mapping
from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class TraceSettings(BaseSettings):
    """What OpenTelemetry has no variable for."""

    traces_exit_s: float = Field(
        default=1.0, ge=0, le=30, description="longest wait of a process that ends for the collector of its traces"
    )


def is_traced(environment: Mapping[str, str]) -> bool:
    """Return whether the variables of OpenTelemetry ask for traces (PROTOCOL: Traces/Off)."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter != "none"
    return any(environment.get(name) for name in ENDPOINTS)
