"""How late the event loop of this process turns, for the metrics and for the roll."""

import asyncio
import time
from typing import Final

from midstream import counters

LOOK_S: Final = 0.25
"""How often the lag is measured."""


class LoopLag:
    """Measures the lag of the loop that `start` is called on."""

    def __init__(self) -> None:
        self._worst_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Measure from now on."""
        self._task = asyncio.create_task(self._measure(), name="loop lag")

    def stop(self) -> None:
        """Measure no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def take_worst_s(self) -> float:
        """Return the longest lag since this was asked last, in seconds."""
        worst_s, self._worst_s = self._worst_s, 0.0
        return worst_s

    async def _measure(self) -> None:
        lags = counters.distribution("loop_lag_seconds")
        while True:
            due_s = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            lag_s = max(0.0, time.monotonic() - due_s)
            lags.add(lag_s)
            self._worst_s = max(self._worst_s, lag_s)
