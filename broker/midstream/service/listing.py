"""A tenant's list of streams: bounded work for each request, so that nobody's lists keep others waiting (Read/List)."""

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from midstream.log.errors import LogUnavailable
from midstream.log.log import Log
from midstream.log.registry import Listed, Registry
from midstream.log.state import State
from midstream.settings import Settings

CHUNK_ROWS: Final = 100
"""States read in one round trip: some 2 ms of everybody's time."""
LISTS_AT_ONCE: Final = 4
"""Of all tenants together: each holds one of the process's connections."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which streams are wanted; None: any.

    Attributes:
        status: A status, or an outcome.
        thread: The thread that they were started with.
    """

    status: str | None = None
    thread: str | None = None

    def takes(self, state: State) -> bool:
        """Tell whether a stream is one of them."""
        return self.status in (None, state.status, state.outcome) and self.thread in (None, state.thread)


class Lists:
    """Lists streams of all tenants: one list of each at a time, and a few of all together."""

    def __init__(self, log: Log, registry: Registry, settings: Settings) -> None:
        self._log = log
        self._registry = registry
        self._scan = settings.list_scan
        self._wait_s = settings.redis_timeout_s
        self._at_once = asyncio.Semaphore(LISTS_AT_ONCE)
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def page(
        self, tenant: str, wanted: Filter, limit: int, before: Listed | None
    ) -> tuple[list[dict[str, Any]], Listed | None]:
        """Return up to `limit` rows, newest first, and the row after which the next page begins; None: that was all.

        A filter looks at no more than `list_scan` streams, so that a page may hold fewer rows than there are, or none.

        Raises:
            LogUnavailable: Redis did not answer, or too many lists were asked for at once.
        """
        found: list[dict[str, Any]] = []
        async with self._turn(tenant):
            left = max(limit, self._scan) if wanted == Filter() else self._scan
            while left:
                count = min(left, CHUNK_ROWS)
                rows = await self._registry.listed(tenant, before, count)
                states = await self._log.states([row.stream_id for row in rows])
                expired = [row.stream_id for row, state in zip(rows, states, strict=True) if state is None]
                if expired:
                    await self._registry.drop(tenant, expired)
                for row, state in zip(rows, states, strict=True):
                    before = row
                    if state and wanted.takes(state):
                        found.append(summary(row.stream_id, state))
                        if len(found) == limit:
                            return found, row
                if len(rows) < count:
                    return found, None
                left -= count
        return found, before

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        turn = self._turns.setdefault(tenant, asyncio.Lock())
        try:
            async with asyncio.timeout(self._wait_s):
                await turn.acquire()
        except TimeoutError:
            raise LogUnavailable(f"{tenant} asks for too many lists at once") from None
        try:
            async with self._at_once:
                yield
        finally:
            turn.release()


def summary(stream_id: str, state: State) -> dict[str, Any]:
    """Return a stream's row in a list."""
    return {
        "id": stream_id,
        "status": state.status,
        "outcome": state.outcome or None,
        "model": state.model,
        "epoch": state.epoch,
        "tail": state.tail,
        "thread": state.thread or None,
        "created_ms": state.created_ms,
        "started_ms": state.started_ms or None,
        "ended_ms": state.ended_ms or None,
        "ttl_s": state.ttl_s,
    }
