"""Lists of streams: bounded work for each, so that no tenant's lists keep others waiting (PROTOCOL: Read/List)."""

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from midstream.access.refusals import LimitExceededError
from midstream.log.entries import Json
from midstream.log.keys import stream_name
from midstream.log.log import Log
from midstream.log.registry import Listed, Registry
from midstream.log.state import State
from midstream.settings import Settings

__all__ = ["Filter", "Listed", "Lists", "summary"]

CHUNK_ROWS: Final = 100
"""States that are read in one round trip: about 2 ms in which this process does nothing else."""
LISTS_AT_ONCE: Final = 4
"""Lists of all tenants that are made at once: each holds one of the process's connections."""

REST: Final = 3
"""The tenant's next list waits so many times as long as a list took: they take a quarter of the time at most."""
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

    def matches(self, state: State) -> bool:
        """Tell whether a stream is to be listed."""
        return self.status in (None, state.status, state.outcome) and self.thread in (None, state.thread)


class Lists:
    """Lists streams of all tenants: one list of each tenant at a time, and a few of all tenants together."""

    def __init__(self, log: Log, registry: Registry, settings: Settings) -> None:
        self._log = log
        self._registry = registry
        self._scan = settings.list_scan
        self._wait_s = settings.redis_timeout_s
        self._at_once = asyncio.Semaphore(LISTS_AT_ONCE)
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

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
                count = min(left, CHUNK_ROWS)
                rows = await self._registry.listed(owner, before, count)
                states = await self._log.states([stream_name(tenant, row.stream_id) for row in rows])
                expired = [row.stream_id for row, state in zip(rows, states, strict=True) if state is None]
                if expired:
                    await self._registry.drop(owner, expired)
                for row, state in zip(rows, states, strict=True):
                    before = row
                    if state and only.matches(state):
                        page.append(summary(row.stream_id, state))
                        if len(page) == limit:
                            return page, row
                if len(rows) < count:
                    return page, None
                left -= count
        return page, before

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        turn = self._turns.setdefault(tenant, asyncio.Lock())
        try:
            async with asyncio.timeout(self._wait_s):
                await turn.acquire()
        except TimeoutError:
            raise LimitExceededError("lists", "tenant", RETRY_AFTER_S, "MIDSTREAM_LIST_SCAN") from None
        loop = asyncio.get_running_loop()
        rest_s = 0.0
        try:
            async with self._at_once:
                began_s = loop.time()
                try:
                    yield
                finally:
                    rest_s = min(REST * (loop.time() - began_s), MOST_REST_S)
        finally:
            loop.call_later(rest_s, turn.release)


def summary(stream_id: str, state: State) -> Json:
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
