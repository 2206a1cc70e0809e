"""Which node of a cluster holds each slot, and a client of each node."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from midstream.redis_address import ClusterAddress

Place = tuple[str, int]
"""Host and port of a node."""

SLOTS: Final = 16_384
ASK_S: Final = 1.0
"""The longest wait for one node that is asked where the slots are."""
REFRESH_S: Final = 0.1
"""The shortest time between two rounds of questions that no node answers."""


class ClusterNodes:
    """The nodes of one cluster, as far as they are known.

    Args:
        address: Where the first nodes are.
        connect: Returns a client of the node with this URL.

    Attributes:
        is_stale: Slots may have moved, so that a node is asked before the next command.
    """

    def __init__(self, address: ClusterAddress, connect: Callable[[str], Redis]) -> None:
        self.is_stale = True
        self._address = address
        self._connect = connect
        self._clients: dict[Place, Redis] = {}
        self._owners: list[Place | None] = [None] * SLOTS
        self._refreshing: asyncio.Task[None] | None = None
        self._doubtful: Place | None = None

    def doubt(self, place: Place) -> None:
        """Note that a node does not answer: another one is asked first where the slots are."""
        self.is_stale = True
        self._doubtful = place

    def owner(self, slot: int) -> Place | None:
        """Return the node that holds a slot, as far as it is known."""
        return self._owners[slot]

    def client(self, place: Place) -> Redis:
        """Return the client of a node."""
        client = self._clients.get(place)
        if client is None:
            client = self._clients[place] = self._connect(self._address.node_url(*place))
        return client

    def clients(self) -> list[Redis]:
        """Return all clients."""
        return [*self._clients.values()]

    def primaries(self) -> list[Redis]:
        """Return a client of each node that holds slots; empty before the first answer."""
        return [self.client(place) for place in sorted({place for place in self._owners if place})]

    def note(self, error: Exception, place: Place) -> None:
        """Note what a node's refusal says of a slot."""
        if isinstance(error, MovedError):
            self._owners[error.slot_id] = self.place_in(error, place)
        elif isinstance(error, ClusterDownError):
            self.is_stale = True

    @staticmethod
    def place_in(error: AskError, place: Place) -> Place:
        """Return the node that a node names in its refusal; it may leave out the host that both share."""
        host, port = error.node_addr
        return (host if host and host != "?" else place[0]), int(port)

    async def refresh(self) -> None:
        """Ask a node where the slots are; who asks meanwhile waits for the same answer.

        Raises:
            redis.exceptions.RedisError: None answers.
        """
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(), name="cluster slots")
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    async def stop(self) -> None:
        """Ask no more."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait((self._refreshing,))

    def _refreshed(self, task: "asyncio.Task[None]") -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # marks it as retrieved, in case nobody waits any more

    async def _refresh(self) -> None:
        places = {place for place in self._owners if place} | set(self._address.places)
        why: Exception | None = None
        in_random_order = random.sample(sorted(places), len(places))
        for place in sorted(in_random_order, key=lambda place: place == self._doubtful):
            try:
                async with asyncio.timeout(ASK_S):
                    rows: Any = await self.client(place).execute_command(b"CLUSTER SLOTS")  # type: ignore[no-untyped-call]
            except (RedisError, OSError, TimeoutError) as error:
                why = error
                continue
            self._take(rows, place)
            self.is_stale = False
            return
        await asyncio.sleep(REFRESH_S)
        if isinstance(why, RedisError):
            raise why
        raise RedisConnectionError(f"no node of the cluster answers: {why or 'time-out'}")

    def _take(self, rows: list[Any], source: Place) -> None:
        owners: list[Place | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in rows:
            place = (host.decode() if host and host != b"?" else source[0]), int(port)
            owners[first : last + 1] = [place] * (last - first + 1)
        self._owners = owners
