"""What the endpoints of one broker process hold."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from midstream.access.grant import Grant
from midstream.journal.audit import Asker
from midstream.lifecycle.queue_readings import queue_readings
from midstream.service.caller import Caller
from midstream.service.resources import Resources, open_resources
from midstream.settings import Settings

logger = logging.getLogger(__name__)

PART_LOOK_S: Final = 0.01
"""How often it is looked whether all tails have ended."""


class StoppingError(Exception):
    """This process has been told to stop."""

    def __init__(self) -> None:
        super().__init__("This broker is stopping; another one answers.")


class Services:
    """The service layer of one process.

    The log, the registry and the hub are out of its users' reach: whatever concerns a stream goes through a `Caller`,
    and so no endpoint can forget whose stream it is (I7).
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self._resources.settings

    async def caller(self, asker: Asker, *credentials: str) -> Caller:
        """Return what the first valid one of these keys and tokens lets its sender do; in open mode none is needed.

        Raises:
            AccessError: None of them is valid.
        """
        return Caller(self._resources, await self._resources.credentials.grant(*credentials), asker)

    def trusted_caller(self, grant: Grant, asker: Asker) -> Caller:
        """Return what a grant lets the sender of a request do; who that is was found out by somebody else."""
        return Caller(self._resources, grant, asker)

    async def check_ready(self, *, needs_worker: bool = False) -> None:
        """Return if generations can be started now.

        Raises:
            StoppingError: This process stops.
            LogUnavailable, LogFull: They cannot be.
            NoWorkerError: `needs_worker`, and none lives.
        """
        if self._resources.hub.stopping:
            raise StoppingError
        await self._resources.registry.ready()
        if needs_worker:
            await self._resources.admission.intake.require_worker()

    async def readings(self) -> dict[tuple[str, ...], float]:
        """Return what an operator wants to know of this process and of the queue, by name and labels."""
        own = self._resources.hub.readings | self._resources.webhooks.readings()
        return own | await queue_readings(self._resources.slips)

    async def part(self, limit_s: float) -> None:
        """Part from every tail at once, and return when none is left or the time is over."""
        draining = asyncio.create_task(self.drain(0), name="parting from tails")
        try:
            async with asyncio.timeout(limit_s):
                while self._resources.hub.tails_and_waits():  # noqa: ASYNC110 - tails end one by one, with no event
                    await asyncio.sleep(PART_LOOK_S)
        except TimeoutError:
            logger.info("tails were left after %g s", limit_s)
        finally:
            draining.cancel()
            await asyncio.wait((draining,))

    def leave(self) -> None:
        """Be ready no more, and serve on."""
        self._resources.hub.stopping = True

    async def drain(self, drain_s: float) -> None:
        """Part from every tail, spread over `drain_s`. Does not return: cancel it when all tails are gone."""
        await self._resources.hub.drain(drain_s, self.settings.retry_ms)


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open the service layer of one broker process; raises as `open_resources`."""
    async with open_resources(settings) as resources:
        yield Services(resources)
