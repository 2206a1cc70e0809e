"""SDKs' own retries: which stream a try is about, and what becomes of it (PROTOCOL: Faces/Retries)."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Final

from midstream.log.errors import LogUnavailable
from midstream.log.keys import new_id
from midstream.log.tries import Tries

logger = logging.getLogger(__name__)

BEAT_S: Final = 0.5
"""How often a broker notes that it lives; one that has not done so for two seconds is dead, as are its connections."""
PATIENCE_S: Final = 2.5
"""How long a retry waits for an equal try that is under way to be lost: until a dead broker is known to be dead."""
LOOK_AGAIN_S: Final = 0.05


@dataclass
class Try:
    """One try of a request.

    Attributes:
        stream_id: Its stream.
        new: Whether the stream is its own and is still to be started; otherwise it joins another try's stream.
        pointer: The key that leads from the request to the stream.
    """

    stream_id: str
    new: bool
    pointer: str
    _digest: str
    _count: int
    _retries: "Retries | None"  # None: a retry has overtaken this try, and stands for both
    _finished: bool = False

    async def finish(self, *, delivered: bool) -> None:
        """Note that its connection is over. If the answer was not delivered, a retry may join its stream.

        A connection may turn out to be lost after an answer was handed to it; then this is called a second time, with
        `delivered` false.
        """
        if self._retries is not None:
            if not self._finished:
                self._finished = True
                self._retries.forget_one()
            await self._retries.finish(self._digest, self.stream_id, self._count, delivered=delivered)


class Retries:
    """The tries of all brokers, as one of the brokers sees them."""

    def __init__(self, tries: Tries) -> None:
        self._tries = tries
        self._broker = new_id()
        self._open = 0
        self._first_opened = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on, note regularly that this broker lives, while it has tries under way."""
        self._beating = asyncio.create_task(self._beat(), name="broker's signs of life")

    async def stop(self) -> None:
        """Note it no more."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait((self._beating,))

    async def begin(self, digest: str, count: int) -> Try:
        """Begin the try with that count, 0 for the first one, of the request that is known by a digest.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        if not self._open:  # otherwise another broker could take this one for dead, and its tries for lost
            await self._tries.beat(self._broker)
        how, stream_id = (
            await self._tries.first(digest, new_id(), self._broker) if count == 0 else await self._retry(digest, count)
        )
        this_try = Try(stream_id, how == "new", self._tries.key(digest), digest, count, None if how == "late" else self)
        if how != "late":
            self._open += 1
            self._first_opened.set()
        return this_try

    async def finish(self, digest: str, stream_id: str, count: int, *, delivered: bool) -> None:
        """Note that a try's connection is over. If Redis does not answer, all that is lost is that a retry joins it."""
        try:
            await self._tries.over(digest, stream_id, self._broker, count, delivered=delivered)
        except LogUnavailable:
            logger.warning("it was not noted how a try of %s ended", stream_id, extra={"stream": stream_id})

    def forget_one(self) -> None:
        """Count one try less that is under way."""
        self._open -= 1

    async def _retry(self, digest: str, count: int) -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while True:
            patient = loop.time() < until
            match = await self._tries.retry(digest, new_id(), self._broker, count, patient=patient)
            if match is not None:
                return match
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _beat(self) -> None:
        while True:
            if not self._open:
                self._first_opened.clear()
            await self._first_opened.wait()
            with contextlib.suppress(LogUnavailable):
                await self._tries.beat(self._broker)
            await asyncio.sleep(BEAT_S)
