"""Appends of many streams that leave together: one write to the server, and one wake-up of it.

A script that is called while none is on its way leaves at once. Those that are called until it is answered leave
together after that. So nothing waits for company, and the more a process has to append, the less each append costs.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from midstream.log.calls import Append
from midstream.log.scripts import Scripts

MOST: Final = 64
"""Scripts that leave together: as many as a server answers within a millisecond."""
MOST_BYTES: Final = 262_144
"""No more are added to so many bytes of entries: a large one keeps the others' answers waiting."""


class Gathered:
    """Runs scripts whose order among each other does not matter, one batch after the other."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._waiting: deque[tuple[Append, asyncio.Future[list[Any]]]] = deque()
        self._is_busy = False  # a script or a batch is on its way
        self._sending: asyncio.Task[None] | None = None

    async def run(self, call: Append) -> list[Any]:
        """Run one script and return its answer; raises as `Scripts.run`.

        If the caller is cancelled before its script has left, the script is not run.
        """
        if not self._is_busy:
            self._is_busy = True
            try:
                return await self._scripts.run(call)
            finally:
                self._is_busy = bool(self._waiting)
                if self._waiting:
                    self._sending = asyncio.create_task(self._send(), name="appends")
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        return await answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                await self._send_batch(self._next())
        finally:
            self._is_busy = False
            self._sending = None

    def _next(self) -> list[tuple[Append, asyncio.Future[list[Any]]]]:
        """Take those that leave together next; nothing of those whose caller has been cancelled."""
        batch: list[tuple[Append, asyncio.Future[list[Any]]]] = []
        size_bytes = 0
        while self._waiting and len(batch) < MOST and size_bytes < MOST_BYTES:
            call, future = self._waiting.popleft()
            if not future.done():
                batch.append((call, future))
                size_bytes += sum(map(len, call.entries))
        return batch

    async def _send_batch(self, batch: list[tuple[Append, asyncio.Future[list[Any]]]]) -> None:
        answers: Sequence[list[Any] | Exception]
        try:
            if len(batch) == 1:
                answers = [await self._scripts.run(batch[0][0])]  # a pipeline of one takes redis-py longer
            else:
                answers = await self._scripts.run_each([call for call, _ in batch])
        except Exception as error:  # noqa: BLE001 - each caller raises it
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
