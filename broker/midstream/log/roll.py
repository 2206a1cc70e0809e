"""Which workers and brokers live, what each says of itself, and what all of them count in a minute (Operate/Roll).

Each process writes one key with a TTL, every few seconds, so no key survives its process for longer than that. The roll
is the set of their names: without it a reader would have to look through all keys of the server.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.connect import keys_of
from midstream.log.errors import LogUnavailable
from midstream.log.scripts import Scripts

Kind = Literal["worker", "broker"]
ALIVE_MS: Final = 5_000
"""A process that has not signed for longer than this is not alive: two of its signs are missing."""
KEEP_MS: Final = 8_000
"""How long a process that has died stays on the roll."""
MINUTE_MS: Final = 60_000
MINUTES: Final = 60
MINUTES_KEEP_MS: Final = (MINUTES + 5) * MINUTE_MS
DEPTH_S: Final = 1.0
"""The longest wait for a queue on another server. A process signs in time even where that is away."""
MOST_PROCESSES: Final = 1_000
"""How many processes of a kind a reader is shown."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a process on the roll says of itself.

    Attributes:
        name: The process' name: `<host>:<pid>:<random>`.
        signed_ms: When it last said so, by the server's clock.
        facts: What it says.
    """

    name: str
    signed_ms: int
    facts: dict[str, Any]


class Roll:
    """The processes under one key prefix. Raises `LogUnavailable` when Redis does not answer.

    Args:
        redis: A client of the log's server.
        prefix: The first part of every key.
        queue_redis: A client of the queue's server; None: it is the log's.
    """

    def __init__(self, redis: Redis, prefix: str, queue_redis: Redis | None = None) -> None:
        self._queue = None if queue_redis in (None, redis) else Scripts(queue_redis)
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)

    async def sign(
        self, kind: Kind, name: str, facts: Mapping[str, Any], counts: Mapping[str, int]
    ) -> tuple[int, bool]:
        """Note that a process lives, and add what it has counted to this minute.

        Returns the server's time in ms, and whether the process is to drain.
        """
        call = calls.Sign(
            sign=self._keys.sign(name),
            drain=self._keys.drain(name),
            roll=self._keys.roll(kind),
            queue=self._keys.queue if self._queue is None else self._keys.roll(kind),  # then it is not read
            minutes=self._keys.minutes,
            process=name,
            depth=await self._depth(),
            facts=orjson.dumps(facts),
            keep_ms=KEEP_MS,
            minutes_ms=MINUTES_KEEP_MS,
            counts=[word for pair in counts.items() for word in pair],
        )
        now_ms, is_to_drain = await self._scripts.run(call)
        return int(now_ms), bool(is_to_drain)

    async def _depth(self) -> int | str:
        """Return the depth of a queue on another server, 0 if that does not answer; empty: the script looks itself."""
        if self._queue is None:
            return ""
        try:
            async with asyncio.timeout(DEPTH_S):
                (depth,) = await self._queue.in_order(("ZCARD", self._keys.queue))
        except (LogUnavailable, TimeoutError):
            return 0
        return int(depth)

    async def drain(self, kind: Kind, name: str) -> bool:
        """Ask a process to drain when it signs next; return whether it is on the roll."""
        (signed_ms,) = await self._scripts.in_order(("ZSCORE", self._keys.roll(kind), name))
        if signed_ms is None:
            return False
        await self._scripts.in_order(("SET", self._keys.drain(name), 1, "PX", KEEP_MS))
        return True

    async def leave(self, kind: Kind, name: str) -> None:
        """Take a process that stops off the roll."""
        await self._scripts.in_order(
            ("ZREM", self._keys.roll(kind), name), ("DEL", self._keys.sign(name), self._keys.drain(name))
        )

    async def present(self, kind: Kind) -> list[Signature]:
        """Return what the living processes of a kind say of themselves, by name."""
        names = ("ZRANGE", self._keys.roll(kind), 0, MOST_PROCESSES - 1, "WITHSCORES")
        (words,) = await self._scripts.in_order(names)
        signed = {name.decode(): int(float(score)) for name, score in zip(words[::2], words[1::2], strict=True)}
        facts = await self._scripts.in_order(*(("GET", self._keys.sign(name)) for name in signed)) if signed else []
        return [
            Signature(name, signed_ms, orjson.loads(each))
            for (name, signed_ms), each in sorted(zip(signed.items(), facts, strict=True))
            if each is not None
        ]

    async def lives(self, kind: Kind) -> bool:
        """Return whether any process of this kind is alive."""
        (seconds, _), newest = await self._scripts.in_order(
            ("TIME",), ("ZREVRANGE", self._keys.roll(kind), 0, 0, "WITHSCORES")
        )
        return bool(newest) and float(newest[1]) >= int(seconds) * 1000 - ALIVE_MS

    async def minutes(self, now_ms: int) -> list[tuple[int, dict[str, int]]]:
        """Return for each minute of the last hour when it began, in ms of the server, and what was counted in it."""
        last = now_ms // MINUTE_MS
        numbers = range(last - MINUTES + 1, last + 1)
        rows = await self._scripts.in_order(*(("HGETALL", f"{self._keys.minutes}:{number}") for number in numbers))
        return [
            (number * MINUTE_MS, {name.decode(): int(value) for name, value in zip(row[::2], row[1::2], strict=True)})
            for number, row in zip(numbers, rows, strict=True)
        ]

    async def now_ms(self) -> int:
        """Return the server's time in ms."""
        ((seconds, microseconds),) = await self._scripts.in_order(("TIME",))
        return int(seconds) * 1000 + int(microseconds) // 1000
