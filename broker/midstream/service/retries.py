"""SDKs' own retries: which stream a try is about, and what becomes of it (PROTOCOL: Faces/Retries)."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Final

from midstream.log.errors import LogUnavailable
from midstream.log.keys import new_id
from midstream.log.tries import Found, Tries

logger = logging.getLogger(__name__)

BEAT_S: Final = 0.5
"""How often a broker says that it lives; one that has not for two seconds is dead, and its connections are over."""
PATIENCE_S: Final = 2.5
"""How long a retry waits for an equal try that is under way to be lost: until a dead broker is known to be dead."""
LOOK_AGAIN_S: Final = 0.05


@dataclass
class Try:
    """One try of a request.

    Attributes:
        stream_id: Its stream.
        new: Whether the stream is its own, and to be started; else it joins another try's.
    """

    stream_id: str
    new: bool
    _digest: str
    _count: int
    _retries: "Retries | None"  # none: the retry that has overtaken it stands for both
    _settled: bool = False

    async def over(self, *, delivered: bool) -> None:
        """Note that its connection is over; if nothing was delivered, a retry may join its stream.

        A connection that turns out to be lost, although the answer was handed to it, is told behind `delivered`.
        """
        if self._retries is not None:
            if not self._settled:
                self._settled = True
                self._retries.settled()
            await self._retries.over(self._digest, self.stream_id, self._count, delivered=delivered)


class Retries:
    """The tries of all brokers, as one of them sees them."""

    def __init__(self, tries: Tries) -> None:
        self._tries = tries
        self._broker = new_id()
        self._open = 0
        self._began = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Say from now on that this broker lives, while it has tries under way."""
        self._beating = asyncio.create_task(self._beat(), name="broker's signs of life")

    async def stop(self) -> None:
        """Say so no more."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait((self._beating,))

    async def begin(self, digest: str, count: int) -> Try:
        """Begin the try with that count, 0 for the first one, of the request that is known by a digest.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        if not self._open:  # else another broker could take this one for dead, and its tries for lost
            await self._tries.beat(self._broker)
        if count == 0:
            how, stream_id = await self._tries.first(digest, new_id(), self._broker)
        else:
            how, stream_id = await self._retry(digest, count)
        begun = Try(stream_id, how == "new", digest, count, None if how == "late" else self)
        if how != "late":
            self._open += 1
            self._began.set()
        return begun

    async def over(self, digest: str, stream_id: str, count: int, *, delivered: bool) -> None:
        """Note that a try's connection is over; what cannot be noted is only a retry that joins nothing."""
        try:
            await self._tries.over(digest, stream_id, self._broker, count, delivered=delivered)
        except LogUnavailable:
            logger.warning("it was not noted how a try of %s ended", stream_id)

    def settled(self) -> None:
        """One try less is under way."""
        self._open -= 1

    async def _retry(self, digest: str, count: int) -> Found:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while True:
            found = await self._tries.retry(digest, new_id(), self._broker, count, patient=loop.time() < until)
            if found is not None:
                return found
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _beat(self) -> None:
        while True:
            if not self._open:
                self._began.clear()
            await self._began.wait()
            with contextlib.suppress(LogUnavailable):
                await self._tries.beat(self._broker)
            await asyncio.sleep(BEAT_S)
