"""Reads of many streams leave together, and fail together. PROTOCOL: Read/Openings."""

import asyncio
from collections.abc import Sequence

import pytest

from midstream.log.errors import LogError, LogUnavailable, StreamAbsent
from midstream.log.page_reads import MOST, MOST_ENTRIES, Page, PageReads, Read
from midstream.log.state import State

LIMIT = 1_024
PAGE: Page = (State(), [], [])


class Server:
    """Answers when it is let, or fails."""

    def __init__(self) -> None:
        self.batches: list[list[Read]] = []
        self.answers = asyncio.Event()
        self.failure: Exception | None = None

    async def read_each(self, reads: Sequence[Read]) -> list[Page | LogError | ValueError]:
        self.batches.append(list(reads))
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return [StreamAbsent(read.stream_id) if read.stream_id == "refused" else PAGE for read in reads]


def readers(reads: PageReads, *names: str) -> list[asyncio.Task[Page]]:
    return [asyncio.create_task(reads.page(Read(name, 0, LIMIT))) for name in names]


async def settled(tasks: list[asyncio.Task[Page]]) -> list[Page | BaseException]:
    async with asyncio.timeout(5):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_alone_is_read_at_once_and_those_that_come_meanwhile_together() -> None:
    server = Server()
    reads = PageReads(server.read_each)
    tasks = readers(reads, "alone")
    while not server.batches:
        await asyncio.sleep(0)
    tasks += readers(reads, "refused", *map(str, range(MOST + 9)))
    await asyncio.sleep(0)
    server.answers.set()
    answers = await settled(tasks)
    assert [type(answer) for answer in answers if answer is not PAGE] == [StreamAbsent]
    assert [len(batch) for batch in server.batches] == [1, MOST, 10]
    assert [batch[0].limit for batch in server.batches] == [LIMIT, MOST_ENTRIES // MOST, MOST_ENTRIES // 10]


async def test_a_batch_that_fails_takes_those_that_wait_with_it_and_nobody_else() -> None:
    server = Server()
    reads = PageReads(server.read_each)
    server.failure = LogUnavailable("no reply")
    tasks = readers(reads, *map(str, range(3 * MOST)))
    while not server.batches:
        await asyncio.sleep(0)
    server.answers.set()
    assert set(map(type, await settled(tasks))) == {LogUnavailable}
    assert len(server.batches) == 1
    server.failure = None
    assert await settled(readers(reads, "later")) == [PAGE]


async def test_nothing_is_read_for_who_has_left() -> None:
    server = Server()
    reads = PageReads(server.read_each)
    gone, *others = readers(reads, "gone", "a", "b")
    await asyncio.sleep(0)
    gone.cancel()
    server.answers.set()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert await settled(others) == [PAGE, PAGE]
    assert [read.stream_id for batch in server.batches for read in batch] == ["a", "b"]
