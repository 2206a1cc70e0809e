"""How late the event loop of this process turns, for the metrics and for the roll."""

import asyncio
import time
from typing import Final

from midstream import counters
from midstream.lifecycle.shared_turns import until_turn_s

LOOK_S: Final = 0.25
CALM_LOOK_S: Final = 1.0
"""How often the lag is measured, by and by, while it stays below `LAG_S`: a process at rest is seldom woken."""
LAG_S: Final = 0.005


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
        look_s = LOOK_S
        while True:
            rest_s = until_turn_s(look_s)
            due_s = time.monotonic() + rest_s
            await asyncio.sleep(rest_s)
            lag_s = max(0.0, time.monotonic() - due_s)
            look_s = LOOK_S if lag_s > LAG_S else min(2 * look_s, CALM_LOOK_S)
            lags.add(lag_s)
            self._worst_s = max(self._worst_s, lag_s)
