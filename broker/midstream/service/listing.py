"""Lists of streams: bounded work for each, so that no tenant's lists keep others waiting (PROTOCOL: Read/List)."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from midstream.access.refusals import LimitExceededError
from midstream.log.entries import Json
from midstream.log.facts import FactReader, Facts, Kind
from midstream.log.keys import stream_name
from midstream.log.registry import Listed, Registry
from midstream.log.state import State
from midstream.settings import Settings

__all__ = ["Filter", "Listed", "Lists", "summary"]

T = TypeVar("T")

SLICE_ROWS: Final = 100
"""Streams that are looked at in one round trip. Redis, and then this process, does nothing else for 0.2 ms each.

Where all facts of so many are read, it is 0.5 ms each.
"""
LISTS_AT_ONCE: Final = 4
"""Lists of all tenants that are made at once: each holds one of the process's connections."""

SHARE: Final = 0.1
"""The part of a process's time that the lists of one tenant may take.

A tenant that lists without a pause takes it however cheap a list is: a quarter of the time was half of what such a
tenant cost at its limits.
"""
AT_ONCE_S: Final = 0.5
"""Time that a tenant's lists may take before that counts, so that a page that opens waits for none of it."""
MOST_TENANTS: Final = 1_024
"""Tenants whose share is remembered."""
MOST_REST_S: Final = 1.0
RETRY_AFTER_S: Final = 1


@dataclass(frozen=True, slots=True)
class Filter:
    """Which streams to list; None: any.

    Attributes:
        status: A status, or an outcome.
        thread: The thread that they were started with.
    """

    status: str | None = None
    thread: str | None = None

    def matches(self, kind: Kind | Facts) -> bool:
        """Tell whether a stream is to be listed."""
        return self.status in (None, kind.status, kind.outcome) and self.thread in (None, kind.thread)


class Lists:
    """Lists streams of all tenants: one list of each tenant at a time, and a few of all tenants together."""

    def __init__(self, facts: FactReader, registry: Registry, settings: Settings) -> None:
        self._facts = facts
        self._registry = registry
        self._scan = settings.list_scan
        self._wait_s = settings.redis_timeout_s
        self._at_once = asyncio.Semaphore(LISTS_AT_ONCE)
        self._turns: OrderedDict[str, _Turn] = OrderedDict()

    async def page(
        self, tenant: str, owner: str, only: Filter, limit: int, before: Listed | None
    ) -> tuple[list[Json], Listed | None]:
        """Return up to `limit` rows, newest first, and the row after which the next page begins; None: there is none.

        `owner` is the tenant, or the user of it whose streams it lists.

        With a filter no more than `list_scan` streams are looked at, so a page may hold fewer rows than match, or none.

        Raises:
            LogUnavailable: Redis did not answer.
            LimitExceededError: The tenant asked for too many lists at once.
        """
        page: list[Json] = []
        async with self._turn(tenant):
            left = max(limit, self._scan) if only == Filter() else self._scan
            while left:
                count = min(left, SLICE_ROWS)
                rows = await self._registry.listed(owner, before, count)
                fitting = await self._fitting(tenant, owner, [row.stream_id for row in rows], only)
                for row in rows:
                    before = row
                    if facts := fitting.get(row.stream_id):
                        page.append(summary(row.stream_id, facts))
                        if len(page) == limit:
                            return page, row
                if len(rows) < count:
                    return page, None
                left -= count
        return page, before

    async def _fitting(self, tenant: str, owner: str, ids: Sequence[str], only: Filter) -> dict[str, Facts]:
        """Return what is true of the streams that are to be listed; of others no more is read than that takes."""
        if only != Filter():
            kinds = await self._present(tenant, owner, ids, self._facts.kinds)
            ids = [stream_id for stream_id, kind in kinds.items() if only.matches(kind)]
        facts_of = await self._present(tenant, owner, ids, self._facts.read) if ids else {}
        return {stream_id: facts for stream_id, facts in facts_of.items() if only.matches(facts)}

    async def _present(
        self, tenant: str, owner: str, ids: Sequence[str], read: Callable[[Sequence[str]], Awaitable[list[T | None]]]
    ) -> dict[str, T]:
        """Return what is read of each stream. Those that are gone are dropped from the list."""
        values = dict(zip(ids, await read([stream_name(tenant, each) for each in ids]), strict=True))
        expired = [stream_id for stream_id, each in values.items() if each is None]
        if expired:
            await self._registry.drop(owner, expired)
        return {stream_id: each for stream_id, each in values.items() if each is not None}

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        turn = self._turns.setdefault(tenant, _Turn())
        self._turns.move_to_end(tenant)
        if len(self._turns) > MOST_TENANTS:
            self._turns.popitem(last=False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._wait_s):
                await turn.lock.acquire()
        except TimeoutError:
            raise LimitExceededError("lists", "tenant", RETRY_AFTER_S, "MIDSTREAM_LIST_SCAN") from None
        rest_s = 0.0
        try:
            async with self._at_once:
                began_s = loop.time()
                try:
                    yield
                finally:
                    rest_s = turn.share.spend(loop.time(), loop.time() - began_s)
        finally:
            loop.call_later(rest_s, turn.lock.release)


class TimeShare:
    """How much of a process's time something has taken, against the part that it may take."""

    def __init__(self) -> None:
        self._paid_s = 0.0
        """The moment up to which the time that was taken uses up the share."""

    def spend(self, now_s: float, took_s: float) -> float:
        """Count what took some time; return for how long the next one has to wait, in seconds."""
        self._paid_s = max(self._paid_s, now_s - took_s - AT_ONCE_S / SHARE) + took_s / SHARE
        self._paid_s = min(self._paid_s, now_s + MOST_REST_S)
        return max(0.0, self._paid_s - now_s)


class _Turn:
    """A tenant's turn to list, and its share of the time."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.share = TimeShare()


def summary(stream_id: str, state: State | Facts) -> Json:
    """Return a stream's row in a list."""
    return {
        "id": stream_id,
        "status": state.status,
        "outcome": state.outcome or None,
        "model": state.model,
        "epoch": state.epoch,
        "tail": state.tail,
        "thread": state.thread or None,
        "user": state.user or None,
        "created_ms": state.created_ms,
        "started_ms": state.started_ms or None,
        "last_entry_ms": state.last_entry_ms,
        "ended_ms": state.ended_ms or None,
        "ttl_s": state.ttl_s,
    }
