"""Which streams each thread has, and which threads each owner has (PROTOCOL: Threads/Lists).

An owner is a tenant or one user of it, as in the lists of streams. The scripts that create and delete streams write
these lists; here they are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.connect import keys_of
from midstream.log.keys import stream_name
from midstream.log.registry import Listed, listed_after
from midstream.log.scripts import Command, Scripts

_ROW: Final = ("status", "outcome", "model", "title")


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """A thread in a list.

    Attributes:
        thread: Its name.
        active_ms: When its last stream was started, by the server's clock.
        streams: How many streams it has; some of them may have expired.
        last_id: The id of the last one.
        status: The status of the last one; empty: it has expired. So for the others.
        outcome: The outcome of the last one.
        model: The model of the last one.
        title: The first words of the user's message that the last one answers.
    """

    thread: str
    active_ms: int
    streams: int
    last_id: str
    status: str
    outcome: str
    model: str
    title: str


class Threads:
    """The threads under one key prefix. Every method raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)

    def channel(self, owner: str, thread: str) -> str:
        """Return the channel on which the id of each new stream of an owner's thread is published."""
        return self._keys.thread(owner, thread)

    async def listed(self, owner: str, before: Listed | None, limit: int) -> list[Listed]:
        """Return up to `limit` of an owner's threads and their last starts, newest first, after the row `before`."""
        return await listed_after(self._redis, self._keys.threads(owner), before, limit)

    async def rows(self, tenant: str, owner: str, listed: Sequence[Listed]) -> list[ThreadRow]:
        """Return what a list shows of these threads, in two round trips; a thread that is gone is left out."""
        if not listed:
            return []
        lists = [self._keys.thread(owner, each.stream_id) for each in listed]
        commands: list[Command] = []
        for key in lists:
            commands += ("ZCARD", key), ("ZRANGE", key, -1, -1)
        words = await self._scripts.in_order(*commands)
        present = [
            (each, int(count), last[0].decode())
            for each, count, last in zip(listed, words[::2], words[1::2], strict=True)
            if last
        ]
        states = (self._keys.state(stream_name(tenant, last_id)) for _, _, last_id in present)
        facts = await self._scripts.in_order(*(("HMGET", state, *_ROW) for state in states)) if present else []
        return [
            ThreadRow(each.stream_id, each.created_ms, count, last_id, *((word or b"").decode() for word in row))
            for (each, count, last_id), row in zip(present, facts, strict=True)
        ]

    async def last(self, owner: str, thread: str, before: int | None, limit: int) -> list[Listed]:
        """Return up to `limit` of the last streams of a thread with their places, newest first, before a place."""
        newest = "+inf" if before is None else f"({before}"
        key = self._keys.thread(owner, thread)
        (words,) = await self._scripts.in_order(
            ("ZREVRANGEBYSCORE", key, newest, "-inf", "WITHSCORES", "LIMIT", 0, limit)
        )
        return _placed(words)

    async def next(self, owner: str, thread: str, after: int, limit: int) -> list[Listed]:
        """Return up to `limit` streams of a thread with their places, oldest first, after a place."""
        key = self._keys.thread(owner, thread)
        (words,) = await self._scripts.in_order(
            ("ZRANGEBYSCORE", key, f"({after}", "+inf", "WITHSCORES", "LIMIT", 0, limit)
        )
        return _placed(words)

    async def place(self, owner: str, thread: str, stream_id: str) -> int | None:
        """Return a stream's place in a thread, by which it is sorted; None where it is not in it."""
        (score,) = await self._scripts.in_order(("ZSCORE", self._keys.thread(owner, thread), stream_id))
        return None if score is None else int(float(score))

    async def drop(self, owner: str, thread: str, stream_ids: Sequence[str]) -> None:
        """Take streams that have expired off an owner's lists."""
        if stream_ids:
            lists = f"{self._keys.thread(owner, thread)} {self._keys.threads(owner)}"
            await self._scripts.run(calls.DropFromThread(thread=thread, thread_lists=lists, stream_ids=stream_ids))


def _placed(words: Sequence[bytes]) -> list[Listed]:
    return [
        Listed(stream_id.decode(), int(float(place))) for stream_id, place in zip(words[::2], words[1::2], strict=True)
    ]
