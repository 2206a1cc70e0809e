"""First pages of many streams that are read together: one round trip on one connection.

When all clients come back, a process opens a thousand streams at once, and each read by itself takes a pipeline and a
connection of its own. So a read waits for the present turn of the event loop to end, and for the batch that is on its
way; what is asked for meanwhile leaves together after that.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from midstream.log.entries import Row, Stored, stored_rows
from midstream.log.errors import LogError, NewerFormat
from midstream.log.keys import Keys
from midstream.log.scripts import Command
from midstream.log.state import FIELDS, State

MOST: Final = 64
"""Streams of one batch."""
MOST_ENTRIES: Final = 1_024
"""Entries of one batch: this process does nothing else while it takes them, for about 2 ms."""

Page = tuple[State | None, list[Stored], list[Row]]
"""A state, entries up to its tail, and these entries as they came."""


class Read(NamedTuple):
    """Up to `limit` entries after an offset."""

    stream_id: str
    after: int
    limit: int


def commands(keys: Keys, reads: Sequence[Read]) -> list[Command]:
    """Return what the server is sent: for each read that of the state, then that of the entries."""
    pairs = [
        (
            ("HMGET", keys.state(read.stream_id), *FIELDS),
            ("XRANGE", keys.log(read.stream_id), read.after + 1, "+", "COUNT", read.limit),
        )
        for read in reads
    ]
    return [command for pair in pairs for command in pair]


def as_pages(answers: Sequence[Any]) -> list[Page | LogError | ValueError]:
    """Make pages of the answers to `commands`, or of each the error that came in its place."""
    return [_page_or_error(*pair) for pair in zip(answers[::2], answers[1::2], strict=True)]


def _page_or_error(values: list[bytes | None] | LogError, rows: list[Row] | LogError) -> Page | LogError | ValueError:
    if isinstance(values, LogError):
        return values
    if isinstance(rows, LogError):
        return rows
    try:
        return as_page(values, rows)
    except (NewerFormat, ValueError) as error:  # of this stream alone: it fails nobody who asked with it
        return error


def as_page(values: list[bytes | None], rows: list[Row]) -> Page:
    """Make a page of what the server answered; entries that came after its state are left out."""
    state = State.parse(values)
    if state is None:
        return None, [], []
    entries = stored_rows(rows)
    while entries and entries[-1].offset > state.tail:
        entries.pop()
    return state, entries, rows


def is_cut(state: State, entries: list[Stored], after: int, limit: int) -> bool:
    """Tell whether a page holds fewer entries than it should."""
    last = entries[-1].offset if entries else after
    return (last < state.tail and len(entries) < limit) or is_incomplete(state, entries, after)


def is_incomplete(state: State, entries: list[Stored], after: int) -> bool:
    """Tell whether entries are missing that should be there by the state."""
    first = max(after + 1, state.first)
    return first <= state.tail and (not entries or entries[0].offset != first)


class PageReads:
    """Reads pages in batches, one batch after the other; in company a page may hold fewer entries than its limit.

    A server that does not answer is asked for nothing more by those that wait: they fail with the batch on its way, so
    that nobody waits for longer than one time-out.
    """

    def __init__(self, read_each: Callable[[Sequence[Read]], Awaitable[list[Page | LogError | ValueError]]]) -> None:
        self._read_each = read_each
        self._waiting: deque[tuple[Read, asyncio.Future[Page]]] = deque()
        self._reading: asyncio.Task[None] | None = None

    async def page(self, read: Read) -> Page:
        """Return a page; raises what `read_each` raises, or returns for this read."""
        answer: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        self._waiting.append((read, answer))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all(), name="first pages")
        return await answer

    async def _read_all(self) -> None:
        batch: list[tuple[Read, asyncio.Future[Page]]] = []
        try:
            while batch := self._next():
                most = max(1, MOST_ENTRIES // len(batch))
                pages = await self._read_each([read._replace(limit=min(read.limit, most)) for read, _ in batch])
                for (_, answer), page in zip(batch, pages, strict=True):
                    _settle(answer, page)
        except Exception as error:  # noqa: BLE001 - each caller raises it
            for _, answer in (*batch, *self._waiting):
                _settle(answer, error)
            self._waiting.clear()
        finally:
            self._reading = None

    def _next(self) -> list[tuple[Read, asyncio.Future[Page]]]:
        """Take those that leave together next; nothing of those whose caller has been cancelled."""
        batch: list[tuple[Read, asyncio.Future[Page]]] = []
        while self._waiting and len(batch) < MOST:
            read, answer = self._waiting.popleft()
            if not answer.done():
                batch.append((read, answer))
        return batch


def _settle(answer: "asyncio.Future[Page]", page: Page | Exception) -> None:
    if answer.done():
        return
    if isinstance(page, Exception):
        answer.set_exception(page)
    else:
        answer.set_result(page)
