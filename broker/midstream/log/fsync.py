"""Waiting until writes are on the server's disk, where it can say so (WAITAOF: Redis 7.2, Valkey).

One marker is written and waited for at a time, for all who wait: the append-only file is in one order, so
what was written before the marker is on disk when the marker is.
"""

import asyncio
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from midstream.log.errors import LogUnavailable
from midstream.log.keys import Keys

WAIT_MS: Final = 2_000
"""Longest wait for one fsync; `appendfsync everysec` takes up to about 1 s."""
MARKER_TTL_S: Final = 60


class Fsync:
    """Group commit over one connection."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._keys = Keys(prefix)
        self._able = True
        self._round: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None

    async def wait(self) -> bool:
        """Return True once all that was written before is on disk, False where the server cannot tell.

        Raises:
            LogUnavailable: It went away meanwhile: what was written before may be lost.
        """
        if not self._able:
            return False
        # A round that is under way may have placed its marker before the caller's write.
        if self._next is None:
            self._next = asyncio.create_task(self._commit(self._round), name="fsync")
        return await asyncio.shield(self._next)

    async def _commit(self, before: "asyncio.Task[bool] | None") -> bool:
        if before is not None:
            await asyncio.wait([before])
        self._round, self._next = asyncio.current_task(), None
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(self._keys.marker, 1, ex=MARKER_TTL_S)
                pipe.execute_command("WAITAOF", 1, 0, WAIT_MS)
                answers: list[Any] = await pipe.execute()
        except ResponseError:
            # An older server, or one without an append-only file: start-up has said so (see durability.py).
            self._able = False
            return False
        except (RedisError, OSError) as error:
            raise LogUnavailable(str(error)) from error
        return bool(answers[1][0])
