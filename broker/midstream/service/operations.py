"""What a broker process shows operators of itself: its sign on the roll, and the tails of a stream that it has."""

import asyncio
import logging
import signal
from collections.abc import Mapping
from typing import Any, Final

import orjson
from redis.asyncio import Redis

from midstream.hub.hub import Hub
from midstream.lifecycle.presence import Presence, new_process_name
from midstream.log.census import MOST_TAILS, Census
from midstream.log.connect import pool_readings
from midstream.log.costs import Costs
from midstream.log.errors import LogUnavailable
from midstream.log.folds import Folds
from midstream.log.log import Log
from midstream.log.memory import Memory
from midstream.log.roll import Roll
from midstream.settings import Settings

logger = logging.getLogger(__name__)

MOST_ANSWERS: Final = 16
"""How many questions are answered at once; the asker of any further one misses this broker."""


def _end() -> None:
    """End this process as its supervisor would."""
    signal.raise_signal(signal.SIGTERM)


class Operations:
    """This broker as operators see it, and what it can ask about all others.

    Attributes:
        name: This process' name on the roll.
        redis: The client by which the server itself is asked.
        roll: All workers and brokers.
        census: Asks all brokers for the tails of a stream.
        memory: The server's memory in the last hours.
        costs: The sums of what streams have cost.
        folds: What the logs of the streams tell that were looked at last.
    """

    def __init__(self, redis: Redis, queue_redis: Redis, log: Log, hub: Hub, settings: Settings) -> None:
        prefix = settings.key_prefix
        self.name = new_process_name()
        self.redis = redis
        self.roll = Roll(redis, prefix, queue_redis)
        self.census = Census(redis, prefix)
        self.memory = Memory(redis, prefix)
        self.costs = Costs(redis, prefix)
        self.folds = Folds(log)
        self._hub = hub
        self._settings = settings
        self._listening = False
        self._answers: set[asyncio.Task[None]] = set()
        self._presence = Presence(self.roll, "broker", self.name, self._facts, _end, self._between_signs)

    async def start(self) -> None:
        """Sign the roll, and answer questions for tails."""
        self._presence.start()

    async def stop(self) -> None:
        """Leave the roll."""
        await self._presence.stop()
        for task in self._answers:
            task.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    async def _between_signs(self, now_ms: int) -> None:
        if not self._listening:
            await self._hub.listen(self.census.channel, self._hear)
            self._listening = True
        await self.memory.note(now_ms)

    def _facts(self) -> Mapping[str, Any]:
        readings = {"_".join(name): value for name, value in self._hub.readings.items()}
        return {
            **readings,
            "draining": self._hub.stopping,
            "window_max_bytes": self._settings.window_bytes,
            "lease_ms": self._settings.lease_ms,
            "port": self._settings.port,
            "pool": pool_readings(self.redis),
        }

    def _hear(self, message: bytes) -> None:
        if len(self._answers) < MOST_ANSWERS:
            task = asyncio.create_task(self._answer(message), name="answer for tails")
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _answer(self, message: bytes) -> None:
        try:
            question = orjson.loads(message)
            stream = question["stream"]
            tails = self._hub.tail_rows(stream, MOST_TAILS)
            answer = {"broker": self.name, "number": self._hub.tails_of(stream), "tails": tails}
            await self.census.answer(question["answers"], answer)
        except LogUnavailable as error:
            logger.debug("a question for tails could not be answered: %s", error)
        except (ValueError, KeyError, TypeError):
            logger.warning("a question for tails could not be read")
