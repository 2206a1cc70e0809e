"""Finds streams by their facts, among those of all tenants (PROTOCOL: Operate/Find, Operate/Facts).

The facts are in the streams' states. A table in this process's memory holds a copy, which is filled at the first
search, brought up to date before each later one, and dropped when nobody has searched for a while.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import Final, TypeVar

from midstream.finder.fact_table import FactTable
from midstream.finder.where import Where
from midstream.log.changes import BEGINNING, Changes
from midstream.log.entries import Json
from midstream.log.facts import FactReader
from midstream.log.keys import stream_name, tenant_of
from midstream.log.registry import Listed, Registry
from midstream.settings import OPEN_TENANT, Settings

logger = logging.getLogger(__name__)

CHUNK: Final = 100
"""Streams whose facts are read in one round trip: about 1 ms in which the server does nothing else."""
AHEAD: Final = 2
"""Chunks that are asked for side by side."""
LISTED_AT_ONCE: Final = 1_000
FEW: Final = 500
"""Where no more states than this are read for a search, the next search may come at once."""
REST: Final = 3
"""Else the table rests so many times as long as it was brought up to date: this takes a quarter of the time at most."""
MOST_REST_S: Final = 1.0
SWEEP_S: Final = 60.0
"""How often rows are dropped of streams that have expired, which no search finds, and those that are too many."""
PAGE: Final = 500
"""Streams on a page of those that are returned one after the other."""

Result = TypeVar("Result")


class Finder:
    """Searches of one broker process. Every search raises `LogUnavailable` when Redis does not answer.

    Args:
        changes: Tells which streams have changed.
    """

    def __init__(self, facts: FactReader, registry: Registry, changes: Changes, settings: Settings) -> None:
        self._facts = facts
        self._registry = registry
        self._changes = changes
        self._all_tenants = {OPEN_TENANT, *settings.tenants_by_key.values()}
        self._most = settings.find_streams
        self._idle_s = settings.find_idle_s
        self._turn = asyncio.Lock()
        self._table: FactTable | None = None
        self._tenants_read: set[str] = set()
        self._position = BEGINNING
        self._now_ms = 0
        self._rest_until_s = 0.0
        self._sweep_s = 0.0
        self._dropping: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Drop the table. Nothing may search after this."""
        if self._dropping is not None:
            self._dropping.cancel()
            self._dropping = None
        self._drop()

    async def page(self, where: Where, limit: int, before: Listed | None) -> tuple[list[Json], Listed | None]:
        """Return up to `limit` streams that fit, newest first, and the one after which the next page begins, if any."""
        rows = await self._ask(lambda table: table.page(where, self._now_ms, limit + 1, before))
        page = rows[:limit]
        return page, _listed(page[-1]) if len(rows) > limit else None

    async def count(self, where: Where) -> int:
        """Return how many streams fit."""
        return await self._ask(lambda table: table.count(where, self._now_ms))

    async def matching(self, where: Where) -> AsyncIterator[Json]:
        """Yield all streams that fit, newest first, as they are when their page is read; newer ones are left out."""
        last: Listed | None = None
        while True:
            page, last = await self.page(where, PAGE, last)
            for row in page:
                yield row
            if last is None:
                return

    async def _ask(self, question: Callable[[FactTable], Result]) -> Result:
        """Return what the table answers, once it is up to date."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if self._table is None:
                self._table = FactTable()
                self._rest_until_s = self._sweep_s = 0.0
            if loop.time() >= self._rest_until_s:
                began_s = loop.time()
                if await self._bring_up_to_date(self._table) > FEW:
                    now_s = loop.time()
                    self._rest_until_s = now_s + min(REST * (now_s - began_s), MOST_REST_S)
            if self._dropping is not None:
                self._dropping.cancel()
            self._dropping = loop.call_later(self._idle_s, self._drop_if_idle)
            return await _in_thread(question, self._table)

    def _drop_if_idle(self) -> None:
        if not self._turn.locked():
            self._drop()

    def _drop(self) -> None:
        table, self._table = self._table, None
        self._tenants_read, self._position = set(), BEGINNING
        if table is not None:
            table.close()

    async def _bring_up_to_date(self, table: FactTable) -> int:
        """Read the states of what may have changed; return how many."""
        news = await self._changes.since(self._position, self._most)
        if not news.is_complete:
            logger.info("the list of ended streams was cut or lost: all facts are read again")
            table.clear()  # it may hold streams that were deleted meanwhile
            self._tenants_read = set()
            news = await self._changes.since(BEGINNING, self._most)
        # In the order of their ends, as far as it is known: rows that come in order are written twice as fast.
        names = dict.fromkeys((*news.ended, *news.live, *table.live()))
        self._all_tenants.update(map(tenant_of, names))
        unread = self._all_tenants - self._tenants_read
        for tenant in unread:
            names |= dict.fromkeys(reversed(await self._listed(tenant)))
        await self._read(table, [*names])
        self._now_ms, self._position = news.now_ms, news.position
        self._tenants_read |= unread
        await self._sweep(table)
        return len(names)

    async def _sweep(self, table: FactTable) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s < self._sweep_s:
            return
        dropped = await _in_thread(lambda each: each.trim(self._now_ms, self._most), table)
        if dropped:
            logger.warning("%d of the oldest streams are not found: MIDSTREAM_FIND_STREAMS=%d", dropped, self._most)
        self._sweep_s = now_s + SWEEP_S

    async def _listed(self, tenant: str) -> list[str]:
        """Return the names on a tenant's list, newest first."""
        names: list[str] = []
        last: Listed | None = None
        while len(names) < self._most:
            rows = await self._registry.listed(tenant, last, LISTED_AT_ONCE)
            names += [stream_name(tenant, row.stream_id) for row in rows]
            if len(rows) < LISTED_AT_ONCE:
                break
            last = rows[-1]
        return names

    async def _read(self, table: FactTable, names: list[str]) -> None:
        """Copy the facts of these streams into the table."""
        chunks = [names[first : first + CHUNK] for first in range(0, len(names), CHUNK)]
        following = iter(chunks)
        answers = deque(asyncio.ensure_future(self._facts.read(chunk)) for chunk in islice(following, AHEAD))
        try:
            for chunk in chunks:
                facts = await answers[0]
                answers.popleft()
                # The server reads the next ones while these rows are written.
                answers.extend(asyncio.ensure_future(self._facts.read(each)) for each in islice(following, 1))
                # Not in another thread: to hand work over and back takes longer than to write so few rows.
                table.put(dict(zip(chunk, facts, strict=True)))
        finally:
            for answer in answers:
                answer.cancel()
            await asyncio.gather(*answers, return_exceptions=True)


def _listed(row: Json) -> Listed:
    return Listed(stream_name(row["tenant"], row["id"]), row["created_ms"])


async def _in_thread(question: Callable[[FactTable], Result], table: FactTable) -> Result:
    """Ask the table in another thread, and wait until it has answered, even if the caller is cancelled."""
    answer = asyncio.get_running_loop().run_in_executor(None, question, table)
    try:
        return await asyncio.shield(answer)
    finally:
        if not answer.done():
            await asyncio.wait((answer,))
