"""The installation's secret, as this process knows it: it follows the one in Redis (PROTOCOL: Access/Secret)."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from midstream.log.errors import LogUnavailable
from midstream.log.forever import forever
from midstream.log.installation import installation_secret

logger = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""How often it is compared with the one in Redis, which is empty after FLUSHALL, and may have another one then."""


class SharedSecret:
    """Keeps a secret that all brokers have in common.

    Attributes:
        value: The secret.
        on_change: Called with another secret when there is one.
    """

    def __init__(self, redis: Redis, prefix: str, value: bytes) -> None:
        self.value = value
        self.on_change: Callable[[bytes], None] = lambda _: None
        self._redis = redis
        self._prefix = prefix
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Compare it with the one in Redis until `stop`."""
        self._task = asyncio.create_task(forever("the installation's secret", self._look), name="secret")

    async def stop(self) -> None:
        """Compare it no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                kept = await installation_secret(self._redis, self._prefix, self.value)
            except LogUnavailable:
                continue  # every request is told so
            if kept != self.value:
                logger.warning("Redis has another secret of the installation; tokens of the one before stay valid")
                self.value = kept
                self.on_change(kept)
