"""The server's memory in the last hours, kept as few readings for a forecast (PROTOCOL: Operate/Redis)."""

from typing import Final

from redis.asyncio import Redis

from midstream.log.connect import keys_of
from midstream.log.redis_errors import log_errors
from midstream.log.scripts import Scripts

STEP_MS: Final = 300_000
"""The time between two readings, whichever broker takes them."""
MOST: Final = 72
"""How many readings are kept: those of six hours."""


class Memory:
    """The readings under one key prefix. Raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)
        self._step = 0

    async def note(self, now_ms: int) -> None:
        """Keep a reading of now, the server's time, unless this process has one of this step of time."""
        step = now_ms // STEP_MS
        if step == self._step:
            return
        with log_errors:
            used = int((await self._redis.info("memory"))["used_memory"])
        # The step is the score, so the reading of a second broker takes the place of the first one's.
        await self._scripts.in_order(
            ("ZREMRANGEBYSCORE", self._keys.memory, step, step),
            ("ZADD", self._keys.memory, step, f"{step}:{used}"),
            ("ZREMRANGEBYRANK", self._keys.memory, 0, -MOST - 1),
            ("PEXPIRE", self._keys.memory, (MOST + 1) * STEP_MS),
        )
        self._step = step

    async def readings(self) -> list[tuple[int, int]]:
        """Return the server's times in ms and its used memory in bytes, the oldest first."""
        (members,) = await self._scripts.in_order(("ZRANGE", self._keys.memory, 0, -1))
        pairs = (member.split(b":") for member in members)
        return [(int(step) * STEP_MS, int(used)) for step, used in pairs]
