"""What the endpoints of one broker process hold."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from midstream.journal.audit import Asker
from midstream.lifecycle.queue_readings import queue_readings
from midstream.service.caller import Caller
from midstream.service.resources import Resources, open_resources
from midstream.settings import Settings


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

    async def check_ready(self, *, needs_worker: bool = False) -> None:
        """Return if generations can be started now.

        Raises:
            LogUnavailable, LogFull: They cannot be.
            NoWorkerError: `needs_worker`, and none lives.
        """
        await self._resources.registry.ready()
        if needs_worker:
            await self._resources.admission.intake.require_worker()

    async def readings(self) -> dict[tuple[str, ...], float]:
        """Return what an operator wants to know of this process and of the queue, by name and labels."""
        own = self._resources.hub.readings | self._resources.webhooks.readings()
        return own | await queue_readings(self._resources.slips)

    async def drain(self, drain_s: float) -> None:
        """Part from every tail, spread over `drain_s`. Does not return: cancel it when all tails are gone."""
        await self._resources.hub.drain(drain_s, self.settings.retry_ms)


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open the service layer of one broker process; raises as `open_resources`."""
    async with open_resources(settings) as resources:
        yield Services(resources)
