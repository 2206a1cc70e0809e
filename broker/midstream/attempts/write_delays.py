"""Reports that writes have to wait for Redis: one line when that begins and one when it is over, for all streams."""

import asyncio
import logging
import time
from typing import Final

logger = logging.getLogger(__name__)

CALM_S: Final = 5.0
"""The delays are over when no write has waited for this long."""


class WriteDelays:
    """Knows how many writes of this process wait for Redis, because it is away or all connections are in use."""

    def __init__(self) -> None:
        self._waiting = 0
        self._streams: set[str] = set()
        self._began_s = 0.0
        self._calm: asyncio.TimerHandle | None = None

    def begin(self, stream_id: str, error: Exception) -> None:
        """Note that a write has failed and will be tried again."""
        self._waiting += 1
        if not self._streams:
            self._began_s = time.monotonic()
            logger.warning(
                "writes have to wait for Redis, first of stream %s: %s; trying again",
                stream_id,
                error,
                extra={"stream": stream_id},
            )
        self._streams.add(stream_id)
        if self._calm is not None:
            self._calm.cancel()
            self._calm = None

    def end(self) -> None:
        """Note that a write which waited has got through, or was given up."""
        self._waiting -= 1
        if not self._waiting:
            self._calm = asyncio.get_running_loop().call_later(CALM_S, self._report_calm, time.monotonic())

    def _report_calm(self, ended_s: float) -> None:
        took_s = ended_s - self._began_s
        logger.warning("writes wait for Redis no longer, after %.1f s and in %d streams", took_s, len(self._streams))
        self._streams.clear()
        self._calm = None
