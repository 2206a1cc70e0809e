"""Which streams there are: those that reapers still look after, and each tenant's, newest first.

Neither set shares a stream's hash tag, so the stream's own scripts write neither. `due` therefore always holds at least
the live streams: a stream is put there before it exists, and taken off after it has ended.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from midstream.log import calls
from midstream.log.calls import Argument
from midstream.log.errors import LogUnavailable
from midstream.log.keys import Key, Keys, tenant_of
from midstream.log.redis_errors import execute, log_errors
from midstream.log.scripts import Scripts
from midstream.log.state import Left

logger = logging.getLogger(__name__)

SAME_MS: Final = 8
"""How many rows of one millisecond are skipped at once, to come to those after a row of that millisecond."""
INDEX_LIMIT: Final = 100_000
"""The newest streams of a tenant that can be listed."""
ENDED_LIMIT: Final = 100_000
"""The last ends that are listed, of all tenants together: some 50 bytes each."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a tenant's index."""

    stream_id: str
    created_ms: int

    def after(self, other: "Listed") -> bool:
        """Tell whether it stands after another row in a list."""
        return (self.created_ms, self.stream_id) < (other.created_ms, other.stream_id)


@dataclass(frozen=True, slots=True)
class Due:
    """What a reaper is handed.

    Attributes:
        now_ms: The server's time.
        looks_ms: The streams to look at now, with the times at which they were due.
        next_ms: When the next look at any stream is due.
    """

    now_ms: int
    looks_ms: dict[str, int]
    next_ms: int


class Registry:
    """The two sets of streams under one key prefix. Raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._keys = Keys(prefix)
        self._scripts = Scripts(redis)

    async def ping(self) -> None:
        """Raise `LogUnavailable` unless Redis answers."""
        with log_errors:
            await self._redis.ping()

    async def ready(self) -> None:
        """Raise as `Scripts.run` unless Redis accepts what a start writes: a full one answers a ping too."""
        await self._scripts.run(calls.Writable())

    async def unwatch(self, left: Mapping[str, Left]) -> None:
        """Have reapers look at these streams no more, which have ended or are gone, and count what is left of each.

        Limits count them no more among what runs. What is left, and what they have cost, is counted once, however often
        it is noted, and each end is put into the outbox once.
        """
        if left:
            words = [word for name, each in left.items() for word in self._words(name, each)]
            keys = self._keys
            call = calls.Leave(
                due=keys.due,
                outlets=keys.outlets,
                prefix=keys.prefix,
                ended=keys.ended,
                most_ended=ENDED_LIMIT,
                streams=words,
            )
            await self._scripts.run(call)

    def _words(self, name: str, left: Left) -> tuple[Argument, ...]:
        keys, tenant = self._keys, tenant_of(name)
        places = (keys.live(tenant), keys.places(tenant), keys.stored(tenant))
        return (name, *places, left.stored_bytes, left.ended_ms, left.ttl_s * 1000, keys.state(name))

    async def unwatch_ended(self, left: Mapping[str, Left]) -> None:
        """Do as `unwatch` for streams that have just been ended, if Redis answers.

        The end stands either way. A reaper that is handed an ended stream unwatches it then.
        """
        try:
            await self.unwatch(left)
        except LogUnavailable as error:
            logger.warning("%d ended streams are left to the reapers: %s", len(left), error)

    async def recount(self, name: str, left: Left, ttl_s_before: int) -> None:
        """Count what is left of an ended stream, which was kept for `ttl_s_before`, by its new time."""
        call = calls.Recount(
            stored=self._keys.stored(tenant_of(name)),
            ended=self._keys.ended,
            most_ended=ENDED_LIMIT,
            stream_name=name,
            bytes=left.stored_bytes,
            ended_ms=left.ended_ms,
            ttl_ms_before=ttl_s_before * 1000,
            ttl_ms=left.ttl_s * 1000,
        )
        await self._scripts.run(call)

    async def due(self, again_ms: int, limit: int, furthest_ms: int) -> Due:
        """Return the streams to look at now, and when to ask again.

        Each is handed to one caller, and to another one after `again_ms`, unless a later look was set by then. A look
        further ahead than `furthest_ms` is due too.
        """
        call = calls.TakeDue(due=self._keys.due, again_ms=again_ms, limit=limit, furthest_ms=furthest_ms)
        now_ms, words, next_ms = await self._scripts.run(call)
        looks_ms = {each.decode(): int(float(time)) for each, time in zip(words[::2], words[1::2], strict=True)}
        return Due(int(now_ms), looks_ms, int(float(next_ms)))

    async def live(self, limit: int) -> tuple[list[str], int]:
        """Return up to `limit` streams that have not ended, the next to be looked at first, and their number."""
        members, number = await self._scripts.in_order(
            ("ZRANGE", self._keys.due, 0, limit - 1), ("ZCARD", self._keys.due)
        )
        return [member.decode() for member in members], int(number)

    async def watch_again(self, looks_ms: Mapping[str, int]) -> None:
        """Have reapers look at streams at these times of the server's clock; one that has left the set stays out."""
        if looks_ms:
            with log_errors:
                await self._redis.zadd(self._keys.due, dict(looks_ms), xx=True)

    async def add(self, tenant: str, stream_id: str, created_ms: int, keep_s: int) -> None:
        """List a new stream; the list itself is kept at least `keep_s`."""
        key = self._keys.index(tenant)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(key, {stream_id: created_ms}, nx=True)
            pipe.zremrangebyrank(key, 0, -INDEX_LIMIT - 1)
            _keep(pipe, key, keep_s)
            await execute(pipe)

    async def keep(self, owner: str, keep_s: int) -> None:
        """Keep the list of a tenant or a user at least `keep_s` from now on."""
        async with self._redis.pipeline(transaction=False) as pipe:
            _keep(pipe, self._keys.index(owner), keep_s)
            await execute(pipe)

    async def listed(self, tenant: str, before: Listed | None, limit: int) -> list[Listed]:
        """Return up to `limit` of the tenant's streams, newest first, after the row `before`."""
        return await listed_after(self._redis, self._keys.index(tenant), before, limit)

    async def drop(self, tenant: str, stream_ids: list[str]) -> None:
        """Take streams off the tenant's list."""
        with log_errors:
            await self._redis.zrem(self._keys.index(tenant), *stream_ids)


async def listed_after(redis: Redis, key: Key, before: Listed | None, limit: int) -> list[Listed]:
    """Return up to `limit` rows of a list by time, newest first, after the row `before`.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    newest = "+inf" if before is None else before.created_ms
    rows_after: list[Listed] = []
    start, count = 0, limit + SAME_MS
    while len(rows_after) < limit:
        with log_errors:
            rows = await redis.zrevrangebyscore(key, newest, "-inf", start=start, num=count, withscores=True)
        page = [Listed(member.decode(), int(score)) for member, score in rows]
        rows_after += [row for row in page if before is None or row.after(before)]
        if len(rows) < count:
            break
        start += count
    return rows_after[:limit]


def _keep(pipe: Pipeline, key: Key, keep_s: int) -> None:
    pipe.expire(key, keep_s, nx=True)
    pipe.expire(key, keep_s, gt=True)
