"""Writes the slips of streams that a reaper queues again, and removes those of streams that it ends, beside its looks.

The queue may be on a server of its own, and that may be away. So a reaper never waits for it: the ends of other streams
would be late, and the reaper would take its own wait for a silence of the log (PROTOCOL: Queue/Road).
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from midstream.lifecycle.slips import Slips
from midstream.log.errors import LogUnavailable
from midstream.log.forever import forever
from midstream.log.registry import Registry

logger = logging.getLogger(__name__)

AT_ONCE: Final = 500
"""Slips that are written in one round trip."""
MOST: Final = 10_000
"""Streams that wait for their slips here. A reaper is handed any further one again (`reaper.AGAIN_MS`)."""


class LostSlips:
    """The slips that one reaper has to write, and to remove.

    A stream's next look is planned once its slip is written, so that another reaper is soon handed the stream if this
    process dies before. It is planned as well if the queue does not answer: the slip is then tried again at that look.
    """

    def __init__(self, slips: Slips, registry: Registry) -> None:
        self._slips = slips
        self._registry = registry
        self._epochs: dict[str, int] = {}
        self._looks_ms: dict[str, int] = {}
        self._under_way: dict[str, int] = {}
        self._over: dict[str, int] = {}
        self._come = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write what is put here from now on."""
        self._task = asyncio.create_task(forever("lost slips", self._run), name="lost slips")

    async def stop(self) -> None:
        """Stop; what is not written yet is left to other reapers."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def put(self, epochs: Mapping[str, int], look_ms: int) -> None:
        """Have slips written for streams with these epochs; the next look at them is due at `look_ms`."""
        new = {name: epoch for name, epoch in epochs.items() if self._under_way.get(name) != epoch}
        if new and len(self._epochs) < MOST:
            self._epochs |= new
            self._looks_ms |= dict.fromkeys(new, look_ms)
            self._come.set()

    def remove(self, epochs: Mapping[str, int]) -> None:
        """Have the slips removed of streams that have ended, whose last attempts had these epochs.

        There is one where no worker took the stream, or where a worker died before it removed it. If the queue does not
        answer the slip stays: a worker takes it, and finds it to be of no use.
        """
        if len(self._over) < MOST:
            self._over |= epochs
            self._come.set()

    async def _run(self) -> None:
        while True:
            await self._come.wait()
            self._come.clear()
            await self._remove()
            self._under_way, self._epochs = self._epochs, {}
            looks_ms, self._looks_ms = self._looks_ms, {}
            try:
                await self._write()
                await self._registry.watch_again(looks_ms)
            except LogUnavailable as error:
                logger.warning("reaper: %s", error)  # the log is away: each stream is soon handed out again
            finally:
                self._under_way = {}

    async def _remove(self) -> None:
        rows, self._over = [*self._over.items()], {}
        try:
            for start in range(0, len(rows), AT_ONCE):
                await self._slips.drop_many(dict(rows[start : start + AT_ONCE]))
        except LogUnavailable as error:
            logger.warning("reaper: slips of %d streams that have ended stay: %s", len(rows), error)

    async def _write(self) -> None:
        rows = [*self._under_way.items()]
        try:
            for start in range(0, len(rows), AT_ONCE):
                await self._slips.write_many(dict(rows[start : start + AT_ONCE]))
        except LogUnavailable as error:
            logger.warning("reaper: %d streams wait for the queue: %s", len(rows), error)
