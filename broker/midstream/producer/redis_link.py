"""How a producer reaches its stream by Redis."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from midstream.attempts.attempt import Attempt
from midstream.attempts.lease import Stoppable
from midstream.log.entries import Entry
from midstream.log.errors import StreamDeleted
from midstream.log.keys import id_of
from midstream.producer.log_link import LogLink, linked
from midstream.producer.opening import opened
from midstream.producer.produce_errors import ProduceError
from midstream.requests.request import GenerationRequest
from midstream.service.taken_up import earlier_entries
from midstream.settings import Settings


class RedisLink:
    """The way of one producer to the log, over what all producers of its event loop share."""

    def __init__(self, shared: LogLink) -> None:
        self.settings = shared.settings
        self._shared = shared
        self._kept: Stoppable | None = None
        self._earlier: Sequence[str] = ()

    async def begin(
        self, request: GenerationRequest, tenant: str, key: str | None, *, take_up: bool
    ) -> tuple[Attempt, str]:
        """Start a stream; return its attempt and its id; raises as `opened`."""
        opening = await opened(self._shared, request, tenant, key, take_up=take_up)
        self._earlier = opening.earlier
        return opening.attempt, id_of(opening.attempt.stream_id)

    async def earlier_entries(self) -> AsyncIterator[Entry]:
        """Yield the entries of the streams whose key was taken up.

        Raises:
            ProduceError: `stream_deleted`: a stream has been deleted or has expired meanwhile.
            LogUnavailable: Redis did not answer.
        """
        try:
            async for entry in earlier_entries(self._shared.log, self._earlier):
                yield entry
        except StreamDeleted as error:
            raise ProduceError("stream_deleted", str(error), stream_id=id_of(self._earlier[-1])) from None

    def keep(self, producer: Stoppable) -> None:
        """Renew the producer's lease until the link is closed."""
        self._kept = producer
        self._shared.leases.add(producer)

    def close(self) -> None:
        """Renew no more."""
        if self._kept is not None:
            self._shared.leases.remove(self._kept)


@asynccontextmanager
async def linked_by_redis(settings: Settings) -> AsyncIterator[RedisLink]:
    """Hold a link to the log; raises as `linked`."""
    async with linked(settings) as shared:
        link = RedisLink(shared)
        try:
            yield link
        finally:
            link.close()
