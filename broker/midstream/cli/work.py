"""`midstream worker --processes`: several workers under one supervisor, as `up` runs them."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Final

from midstream.cli.supervisor import Command, Supervisor, supervise
from midstream.settings import Settings

STOP_MARGIN_S: Final = 5.0
"""Seconds that a worker gets to end, after its generations had their time."""


def worker_commands(
    settings: Settings, processes: int, environment: Mapping[str, str], *, metrics_after: int
) -> list[Command]:
    """Return the commands that run so many workers; `metrics_after` ports of metrics belong to other processes."""
    return [
        Command(
            f"worker {number}" if processes > 1 else "worker",
            (sys.executable, "-P", "-m", "midstream_worker"),
            stop_timeout_s=settings.drain_s + settings.traces_exit_s + STOP_MARGIN_S,
            ending="to finish what it generates",
            environment={**environment, **settings.metrics_of(metrics_after + number - 1)},
        )
        for number in range(1, processes + 1)
    ]


def work_many(settings: Settings, processes: int) -> int:
    """Run so many workers until a signal; one that ends by itself is started again. Return the exit status."""
    # To a child stderr is a pipe, where lines would be JSON.
    environment = {"MIDSTREAM_LOG_FORMAT": "json" if settings.logs_json else "text"}
    supervisor = Supervisor("worker")
    commands = worker_commands(settings, processes, environment, metrics_after=0)
    return asyncio.run(supervise(supervisor, lambda: supervisor.start(*commands)))
