"""Which streams there are: those that reapers still look after, and each tenant's, newest first.

A stream is in two sets, `due` and the `index` of its tenant. The scripts that write its state write neither of them.
`due` therefore always holds at least the live streams: a stream is put there before it exists, and taken off after it
has ended.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from midstream.log import calls
from midstream.log.calls import Argument
from midstream.log.connect import keys_of
from midstream.log.errors import LogError, LogUnavailable
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
        is_full: Whether more streams may be due now.
        is_whole: Whether all nodes have answered, where a cluster holds the log.
    """

    now_ms: int
    looks_ms: dict[str, int]
    next_ms: int
    is_full: bool
    is_whole: bool = True


class Registry:
    """The two sets of streams under one key prefix. Raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._keys = keys_of(redis, prefix)
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
        for keys, names in by_shard(self._keys, left).items():
            call = calls.Leave(
                due=keys.due,
                outlets=keys.outlets,
                prefix=keys.prefix,
                ended=keys.ended,
                most_ended=ENDED_LIMIT,
                streams=[word for name in names for word in _words(keys, name, left[name])],
            )
            await self._scripts.run(call)

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
            ended=self._keys.near(name).ended,
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
        answers = await self._scripts.run_each(
            [
                calls.TakeDue(due=keys.due, again_ms=again_ms, limit=limit, furthest_ms=furthest_ms)
                for keys in self._keys.shards
            ]
        )
        dues: list[Due] = []
        for answer in answers:
            if not isinstance(answer, LogError):
                now_ms, words, next_ms = answer
                looks_ms = {each.decode(): int(float(time)) for each, time in zip(words[::2], words[1::2], strict=True)}
                dues.append(Due(int(now_ms), looks_ms, int(float(next_ms)), is_full=len(looks_ms) >= limit))
        if not dues:
            raise next(answer for answer in answers if isinstance(answer, LogError))
        return _together(dues, is_whole=len(dues) == len(answers))

    async def live(self, limit: int) -> tuple[list[str], int]:
        """Return up to `limit` streams that have not ended, the next to be looked at first, and their number."""
        shards = self._keys.shards
        answers = await self._scripts.in_order(
            *(("ZRANGE", keys.due, 0, limit - 1, "WITHSCORES") for keys in shards),
            *(("ZCARD", keys.due) for keys in shards),
        )
        rows = [
            (float(look_ms), member.decode())
            for words in answers[: len(shards)]
            for member, look_ms in zip(words[::2], words[1::2], strict=True)
        ]
        return [member for _, member in sorted(rows)[:limit]], sum(map(int, answers[len(shards) :]))

    async def watch_again(self, looks_ms: Mapping[str, int]) -> None:
        """Have reapers look at streams at these times of the server's clock; one that has left the set stays out."""
        for keys, names in by_shard(self._keys, looks_ms).items():
            with log_errors:
                await self._redis.zadd(keys.due, {name: looks_ms[name] for name in names}, xx=True)

    async def add(self, tenant: str, stream_id: str, created_ms: int, keep_s: int) -> None:
        """List a new stream; the list itself is kept at least `keep_s`."""
        key = self._keys.index(tenant)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(key, {stream_id: created_ms}, nx=True)
            pipe.zremrangebyrank(key, 0, -INDEX_LIMIT - 1)
            _keep(pipe, key, keep_s)
            await execute(pipe)

    async def keep(self, owner: str, thread: str, keep_s: int) -> None:
        """Keep the list of a tenant or a user, and those of a thread if one is named, at least `keep_s` from now on."""
        threads = (self._keys.thread(owner, thread), self._keys.threads(owner)) if thread else ()
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in (self._keys.index(owner), *threads):
                _keep(pipe, key, keep_s)
            await execute(pipe)

    async def listed(self, tenant: str, before: Listed | None, limit: int) -> list[Listed]:
        """Return up to `limit` of the tenant's streams, newest first, after the row `before`."""
        return await listed_after(self._redis, self._keys.index(tenant), before, limit)

    async def drop(self, tenant: str, stream_ids: list[str]) -> None:
        """Take streams off the tenant's list."""
        with log_errors:
            await self._redis.zrem(self._keys.index(tenant), *stream_ids)


def by_shard(keys: Keys, names: Iterable[str]) -> dict[Keys, list[str]]:
    """Return the streams of each part of the log that has any of these."""
    if len(keys.shards) == 1:
        return {keys: each} if (each := [*names]) else {}
    sorted_names: dict[Keys, list[str]] = {}
    for name in names:
        sorted_names.setdefault(keys.near(name), []).append(name)
    return sorted_names


def _words(keys: Keys, name: str, left: Left) -> tuple[Argument, ...]:
    tenant = tenant_of(name)
    places = (keys.live(tenant), keys.places(tenant), keys.stored(tenant))
    return (name, *places, left.stored_bytes, left.ended_ms, left.ttl_s * 1000, keys.state(name))


def _together(dues: Sequence[Due], *, is_whole: bool) -> Due:
    """Return as one what the parts of the log have due. The time is that of the clock that is slowest."""
    if len(dues) == 1 and is_whole:
        return dues[0]
    return Due(
        min(due.now_ms for due in dues),
        {name: look_ms for due in dues for name, look_ms in due.looks_ms.items()},
        min(due.next_ms for due in dues),
        any(due.is_full for due in dues),
        is_whole,
    )


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
