"""`out` of an app that is a plain coroutine: what it writes becomes what a generator would yield."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, get_args

from midstream.attempts.app_items import checked
from midstream.attempts.delta import Delta, Finish, FinishReason
from midstream.attempts.out import Out

ROOM: Final = 64
"""Items that an app may be ahead of what is written."""
_END: Final = object()


class AppOut(Out):
    """Takes what the app writes, and yields it to the attempt."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self._room = asyncio.Semaphore(ROOM)
        self._reason: FinishReason = "stop"

    async def write(self, item: str | Delta) -> None:
        """Append a text or a delta; raises as `Out.write`."""
        delta = checked(item)
        await self._room.acquire()
        self._items.put_nowait(delta)

    def finish(self, reason: FinishReason) -> None:
        """Name the reason for which the answer ends; without it an app that ends well has the reason `stop`."""
        if reason not in get_args(FinishReason):
            raise ValueError(f"a reason is one of {', '.join(get_args(FinishReason))}")
        self._reason = reason

    async def items(self, work: Coroutine[Any, Any, Any], name: str) -> AsyncGenerator[Any]:
        """Run the app, and yield what it writes; closing this iterator cancels the app."""
        task = asyncio.create_task(self._run(work), name=name)
        try:
            while (item := await self._items.get()) is not _END:
                self._room.release()
                yield item
            await task
            yield Finish(self._reason)
        finally:
            task.cancel()
            await asyncio.wait((task,))
            work.close()  # where the task was cancelled before its first step; else it is over, and nothing happens
            task.cancelled() or task.exception()  # a look at it, or asyncio reports it as never retrieved

    async def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        finally:
            self._items.put_nowait(_END)
