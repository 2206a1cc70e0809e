"""The settings of the metrics; `midstream.settings` holds them with all others."""

import os
import socket

from pydantic import Field
from pydantic_settings import BaseSettings


class MetricsPortError(Exception):
    """Metrics cannot be read where the settings say; the message names the variable."""


class MetricsSettings(BaseSettings):
    """Where Prometheus reads a process, and which models have a name there."""

    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="port on which Prometheus reads a broker or a worker; `0`: none. Of several processes that start "
        "together, each has the next port",
    )
    metrics_host: str = Field(default="127.0.0.1", description="address on which `/metrics` is read")
    metrics_models: str = Field(
        default="",
        description="`openai/gpt-5.4,…`: further models with a name of their own in the metrics, besides those of "
        "`/v1/models`; all others are `other`",
    )

    def metrics_of(self, number: int) -> dict[str, str]:
        """Return the variable of the port of the process with this number, from 0, of several on one machine."""
        return {"MIDSTREAM_METRICS_PORT": str(self.metrics_port + number)} if self.metrics_port else {}

    def metrics_listener(self) -> socket.socket | None:
        """Return a socket that listens for Prometheus; None where the settings name no port.

        Raises:
            MetricsPortError: The port is taken, or the address is none of this machine.
        """
        if not self.metrics_port:
            return None
        family = socket.AF_INET6 if ":" in self.metrics_host else socket.AF_INET
        try:
            return socket.create_server((self.metrics_host, self.metrics_port), family=family)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            where = f"{self.metrics_host} port {self.metrics_port}"
            raise MetricsPortError(f"MIDSTREAM_METRICS_PORT: cannot listen on {where}: {reason}") from None
