"""Reading a log from an offset to its tail, for those who want all of it at once. Tails read through the hub."""

from collections.abc import AsyncIterator
from typing import Final

from midstream.log.answer import Answer
from midstream.log.entries import Stored
from midstream.log.errors import LogTrimmed
from midstream.log.log import Log

READ_PAGE: Final = 1_000
"""Entries that are read in one round trip."""


async def read_entries(log: Log, stream_id: str, after: int = 0) -> AsyncIterator[Stored]:
    """Yield the entries after offset `after` that the log holds now; none where there is no such stream.

    Raises:
        LogTrimmed: Some of them are gone.
        LogUnavailable: Redis did not answer.
    """
    while True:
        state, page = await log.read(stream_id, after, READ_PAGE)
        if state is not None and after + 1 < state.first:
            raise LogTrimmed(state.first)
        for entry in page:
            yield entry
        if len(page) < READ_PAGE:
            return
        after = page[-1].offset


async def read_answer(log: Log, stream_id: str) -> Answer:
    """Return what the stream has answered so far; empty where there is no such stream.

    Raises:
        LogTrimmed: The beginning of the answer is gone.
        LogUnavailable: Redis did not answer.
    """
    answer = Answer()
    async for entry in read_entries(log, stream_id):
        answer.add(entry)
    return answer
