"""Which tries of an SDK's requests are under way or were lost, and which brokers live (PROTOCOL: Faces/Retries)."""

from collections.abc import Sequence
from typing import Final, Literal

from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.calls import Argument
from midstream.log.connect import keys_of
from midstream.log.keys import Key
from midstream.log.scripts import Scripts

WINDOW_MS: Final = 15_000
"""How long a lost try waits for its retry: the SDKs' longest back-off of 8 s, and a connection attempt of 5 s."""
KEEP_MS: Final = 3_600_000
"""How long a try whose connection stays open is remembered: no answer takes longer."""
BROKERS_KEEP_MS: Final = 60_000

Place = tuple[Literal["new", "joined", "late"], str]


class Tries:
    """The tries under one key prefix. Raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)

    def key(self, digest: str) -> Key:
        """Return the key of the tries of a request."""
        return self._keys.tries(digest)

    async def beat(self, broker: str) -> None:
        """Note that a broker lives."""
        await self._scripts.run(calls.Beat(brokers=self._keys.brokers, broker=broker, keep_ms=BROKERS_KEEP_MS))

    async def first(self, digest: str, stream_id: str, broker: str) -> Place:
        """Note a first try; its stream is that of a retry which has overtaken it, else `stream_id`."""
        place = await self._begin(digest, stream_id, broker, 0, patient=False)
        if place is None:
            raise AssertionError("a first try was made to wait")
        return place

    async def retry(self, digest: str, stream_id: str, broker: str, count: int, *, patient: bool) -> Place | None:
        """Note a retry; its stream is that of an earlier try that was lost, else `stream_id`.

        Returns:
            None to a `patient` caller if no try is lost yet but some are under way: one of them may be the one that is
            tried again here.
        """
        (beats,) = await self._scripts.in_order(("ZRANGE", self._keys.brokers, 0, -1, "WITHSCORES"))
        return await self._begin(digest, stream_id, broker, count, beats, patient=patient)

    async def over(self, digest: str, stream_id: str, broker: str, count: int, *, delivered: bool) -> None:
        """Note that a try's connection is over, and whether its answer was delivered by it."""
        call = calls.EndTry(
            tries=self._keys.tries(digest),
            stream_id=stream_id,
            broker=broker,
            result="delivered" if delivered else "lost",
            keep_ms=KEEP_MS,
            count=count,
        )
        await self._scripts.run(call)

    async def _begin(
        self, digest: str, stream_id: str, broker: str, count: int, beats: Sequence[Argument] = (), *, patient: bool
    ) -> Place | None:
        call = calls.BeginTry(
            tries=self._keys.tries(digest),
            count=count,
            new_stream_id=stream_id,
            broker=broker,
            window_ms=WINDOW_MS,
            keep_ms=KEEP_MS,
            patience="patient" if patient else "last",
            beats=beats,
        )
        match await self._scripts.run(call):
            case [b"wait"]:
                return None
            case [b"joined", stream_id]:
                return "joined", stream_id.decode()
            case [b"late", stream_id]:
                return "late", stream_id.decode()
            case [_, stream_id]:
                return "new", stream_id.decode()
        raise AssertionError("a script gave an unknown answer")
