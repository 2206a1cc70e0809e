"""What apps open when a worker starts, such as a pool, and close when it ends (PROTOCOL: App/Lifespan)."""

import asyncio
import logging
from typing import Any, Final

from midstream.app_registry import Lifespan

logger = logging.getLogger(__name__)

CANCEL_S: Final = 1.0
"""How long a lifespan that was cancelled is waited for; the process then ends without it."""


class Lifespans:
    """The lifespans of one worker. Several apps may share one, which is entered once.

    Args:
        limit_s: The longest time that one takes to open, and to close.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._over = asyncio.Event()
        self._opened: dict[Lifespan, asyncio.Future[Any]] = {}
        self._tasks: dict[Lifespan, asyncio.Task[None]] = {}

    async def open(self, lifespan: Lifespan) -> None:
        """Enter a lifespan, unless that was done.

        Raises:
            TimeoutError: It took too long.
            Exception: Whatever it raises.
        """
        if lifespan not in self._opened:
            opened = self._opened[lifespan] = asyncio.get_running_loop().create_future()
            # One task enters and leaves it, because what it opens may insist on that.
            self._tasks[lifespan] = asyncio.create_task(self._keep(lifespan, opened), name="lifespan of an app")
        try:
            async with asyncio.timeout(self._limit_s):
                await asyncio.shield(self._opened[lifespan])
        except TimeoutError:
            if self._opened[lifespan].done():  # the user's code had a time-out of its own
                raise
            late = TimeoutError(f"it took longer than {self._limit_s:g} s (MIDSTREAM_APP_LIFESPAN_S)")
            self._opened[lifespan].set_exception(late)  # for other apps that share it, if there are any
            self._opened[lifespan].exception()  # a look at it, or asyncio reports it as never retrieved
            self._tasks[lifespan].cancel()
            raise late from None

    def objects(self, lifespan: Lifespan | None) -> Any:
        """Return what a lifespan has yielded; None for an app without one."""
        return None if lifespan is None else self._opened[lifespan].result()

    async def aclose(self) -> None:
        """Leave all lifespans."""
        self._over.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=self._limit_s)
            for task in late:
                logger.warning("the lifespan of an app has not closed within %g s", self._limit_s)
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=CANCEL_S)
        self._tasks.clear()
        self._opened.clear()

    async def _keep(self, lifespan: Lifespan, opened: asyncio.Future[Any]) -> None:
        try:
            async with lifespan() as objects:
                if not opened.done():  # it has not swallowed the cancellation of one that takes too long
                    opened.set_result(objects)
                    await self._over.wait()
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            if opened.done():
                logger.exception("the lifespan of an app has failed while it closed")
            elif isinstance(error, Exception):
                opened.set_exception(error)
            else:
                opened.set_exception(RuntimeError(type(error).__name__))
