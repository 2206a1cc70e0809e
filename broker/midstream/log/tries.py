"""Which tries of an SDK's requests are under way or were lost, and which brokers live (PROTOCOL: Faces/Retries)."""

from typing import Final, Literal

from redis.asyncio import Redis

from midstream.log.keys import Keys
from midstream.log.scripts import Argument, Scripts

WINDOW_MS: Final = 15_000
"""How long a lost try waits for its retry: the SDKs' longest back-off of 8 s, and a connection attempt of 5 s."""
KEEP_MS: Final = 3_600_000
"""How long a try is remembered whose connection stays open: an answer takes no longer."""
BROKERS_KEEP_MS: Final = 60_000

Found = tuple[Literal["new", "joined", "late"], str]


class Tries:
    """The tries under one key prefix. Raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._keys = Keys(prefix)
        self._scripts = Scripts(redis)

    async def beat(self, broker: str) -> None:
        """Note that a broker lives."""
        await self._scripts.run("beat", [self._keys.brokers], [broker, BROKERS_KEEP_MS])

    async def first(self, digest: str, stream_id: str, broker: str) -> Found:
        """Note a first try; its stream is the one of a retry that has overtaken it, else the given one."""
        found = await self._find(digest, [0, stream_id, broker, WINDOW_MS, KEEP_MS, "last"])
        if found is None:
            raise AssertionError("a first try was told to wait")
        return found

    async def retry(self, digest: str, stream_id: str, broker: str, count: int, *, patient: bool) -> Found | None:
        """Note a retry; its stream is that of an earlier try that was lost, else the given one.

        Returns:
            None to a `patient` caller: no try was lost yet, but some are under way, and one of them may be this one's.
        """
        (brokers,) = await self._scripts.in_order(("ZRANGE", self._keys.brokers, 0, -1, "WITHSCORES"))
        patience = "patient" if patient else "last"
        return await self._find(digest, [count, stream_id, broker, WINDOW_MS, KEEP_MS, patience, *brokers])

    async def over(self, digest: str, stream_id: str, broker: str, count: int, *, delivered: bool) -> None:
        """Note that a try's connection is over, and whether its answer was delivered by it."""
        how = "delivered" if delivered else "lost"
        await self._scripts.run("tried_over", [self._keys.tried(digest)], [stream_id, broker, how, KEEP_MS, count])

    async def _find(self, digest: str, arguments: list[Argument]) -> Found | None:
        match await self._scripts.run("tried", [self._keys.tried(digest)], arguments):
            case [b"wait"]:
                return None
            case [b"joined", stream_id]:
                return "joined", stream_id.decode()
            case [b"late", stream_id]:
                return "late", stream_id.decode()
            case [_, stream_id]:
                return "new", stream_id.decode()
        raise AssertionError("a script gave an answer that nobody knows")
