"""The service layer of an app that serves our endpoints: opened once for each event loop, closed with it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from midstream.http.in_app.stop_signals import on_stop
from midstream.producer.background import drain
from midstream.service.services import Services, open_services
from midstream.settings import Settings

logger = logging.getLogger(__name__)

OpenSettings = Callable[[], AbstractAsyncContextManager[Settings]]


class OwnServices:
    """Holds the service layer from the app's start to its stop.

    Nobody starts an app that is mounted in another one: then the first request opens it, and the end of the event loop
    closes it.

    Args:
        settings: Opens what the settings need, and returns them.
    """

    def __init__(self, settings: OpenSettings) -> None:
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: asyncio.Future[Services]
        self._keeper: asyncio.Task[None]
        self._closing: asyncio.Event
        self._users = 0

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Open it, and close it after the last one who holds it; raises as `open_services`."""
        self._users += 1
        try:
            await self.opened()
            yield
        finally:
            self._users -= 1
            if not self._users:
                await self._close()

    async def opened(self) -> Services:
        """Return the service layer, open.

        Raises:
            UnfitServer, LogUnavailable: It cannot be opened; the next call tries again.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._keeper.done():
            self._loop = loop
            self._closing = asyncio.Event()
            self._opened = loop.create_future()
            self._keeper = asyncio.create_task(self._keep(self._opened, self._closing), name="midstream in an app")
        return await asyncio.shield(self._opened)

    async def _close(self) -> None:
        if self._loop is asyncio.get_running_loop():
            self._closing.set()
            await asyncio.wait((self._keeper,))
            if not self._keeper.cancelled():
                self._keeper.result()

    async def _keep(self, opened: asyncio.Future[Services], closing: asyncio.Event) -> None:
        try:
            async with self._settings() as settings, open_services(settings) as services:
                opened.set_result(services)
                await self._until_closed(services, settings, closing)
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)
        finally:
            opened.cancel()

    async def _until_closed(self, services: Services, settings: Settings, closing: asyncio.Event) -> None:
        limit_s = settings.broker_drain_ms / 1_000
        draining: list[asyncio.Task[None]] = []

        def part() -> None:
            if not draining:
                draining.append(asyncio.create_task(services.drain(limit_s), name="parting from tails"))

        try:
            with on_stop(part):
                await closing.wait()
            await services.part(limit_s)
            await drain(settings.drain_s)
        finally:
            for task in draining:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
