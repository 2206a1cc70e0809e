"""Cancels code that waits for something else while others end its stream (PROTOCOL: Produce/Background)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class CutBlock:
    """Holds the code that writes a stream, if it is of those that are cancelled with it."""

    def __init__(self) -> None:
        self._limit: asyncio.Timeout | None = None
        self._task: asyncio.Task[Any] | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Run a block that `cut` cancels where it waits, and that is then left quietly.

        A timeout tells that cancel from one of the block's own task, which goes on outwards.
        """
        try:
            async with asyncio.timeout(None) as limit:
                self._limit, self._task = limit, asyncio.current_task()
                try:
                    yield
                finally:
                    self._limit = None
        except TimeoutError:
            if not limit.expired():
                raise

    def cut(self) -> None:
        """Cancel the block, if there is one, unless its own task says so, which hears of the end where it writes."""
        if self._limit is not None and asyncio.current_task() is not self._task:
            self._limit.reschedule(0)
