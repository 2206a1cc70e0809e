"""A client of a cluster: it sends each command to the node that holds its key (PROTOCOL: Log/Cluster).

redis-py's own `RedisCluster` has connections without the bounds of `connect.py`, repeats writes whose reply was lost,
and its pipelines know no script. Here each node has a client of `connect.py`. A command is repeated only when a node
has refused it because another one holds the key, or will in a moment; no such command has taken effect.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from midstream.log.cluster_nodes import ClusterNodes, Place
from midstream.log.cluster_words import Words, own_source, slot_of, slots_of, words_of
from midstream.redis_address import ClusterAddress

PAUSE_S: Final = 0.05
"""The rest before a command is repeated that no node takes at this moment."""
REFUSED: Final = (AskError, TryAgainError, ClusterDownError)
"""How a node refuses a command that it has not run; a `MovedError` is an `AskError`."""
AWAY: Final = (RedisConnectionError, RedisTimeoutError)
"""What redis-py raises where a node cannot be reached."""
READS: Final = frozenset(
    (b"HMGET", b"HGET", b"HGETALL", b"GET", b"EXISTS", b"XRANGE", b"XREVRANGE", b"ZRANGE", b"TIME")
)

Command = tuple[Words, Mapping[str, Any]]


@dataclass(slots=True)
class _Round:
    """Commands that are sent until no node refuses them.

    Attributes:
        commands: What is sent.
        slots: The slot of each.
        answers: The last answer or error of each.
        pending: The numbers of those that are to be sent.
        places: Where each of these was sent.
        others: Those that another node has to be asked for, with that node, because their slot is moving there.
    """

    commands: list[Command]
    slots: list[int]
    answers: list[Any]
    pending: list[int]
    places: dict[int, Place] = field(default_factory=dict)
    others: dict[int, Place] = field(default_factory=dict)


class _Pools(ConnectionPool):
    """Stands for the pools of all nodes; it has no connection of its own."""

    nodes: ClusterNodes

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections to all nodes."""
        for client in self.nodes.clients():
            await client.connection_pool.disconnect(inuse_connections)


class ClusterRedis(Redis):
    """A client of all nodes, which is used as that of one server.

    Args:
        address: Where the first nodes are.
        connect: Returns a client of the node with this URL.
        timeout_s: For how long a command is repeated that nodes refuse for now.

    Attributes:
        nodes: The nodes.
    """

    def __init__(self, address: ClusterAddress, connect: Callable[[str], Redis], timeout_s: float) -> None:
        pools = _Pools()
        super().__init__(connection_pool=pools)
        self.nodes = pools.nodes = ClusterNodes(address, connect)
        self._timeout_s = timeout_s

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        await self.nodes.stop()
        for client in self.nodes.clients():
            await client.aclose(close_connection_pool=close_connection_pool)

    def owner(self, key: str) -> Place | None:
        """Return the node that holds a key or a channel, as far as it is known."""
        return self.nodes.owner(key_slot(key.encode()))

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command at the node that holds its key; raises as redis-py's."""
        if args[0] == "SCRIPT LOAD":
            return await self._load(args[1])
        words = words_of(args)
        place = self.nodes.owner(slot_of(words))
        if place is not None and not self.nodes.is_stale:
            try:
                return await self.nodes.client(place).execute_command(*words, **options)  # type: ignore[no-untyped-call]
            except AWAY:
                self.nodes.doubt(place)
                raise
            except REFUSED as error:
                self.nodes.note(error, place)
        (answer,) = await self.run_all([(args, options)], is_transaction=False)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline whose commands go to the nodes of their keys, side by side."""
        return _Pipeline(self, transaction, shard_hint)

    async def run_all(self, commands: Sequence[Command], *, is_transaction: bool) -> list[Any]:
        """Run commands; return the answer or the error of each.

        Commands of one node run in their order; one that names no key goes where that before it goes. A transaction is
        of one slot. Raises as redis-py's where no node can be reached.
        """
        sent = [(words_of(args), options) for args, options in commands]
        of = _Round(sent, slots_of([words for words, _ in sent]), [None] * len(sent), [*range(len(sent))])
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._timeout_s
        while of.pending:
            if self.nodes.is_stale:
                await self.nodes.refresh()
            await self._send(of, is_transaction=is_transaction)
            self._see_refusals(of)
            if loop.time() > until_s:
                break
            if any(isinstance(of.answers[number], TryAgainError | ClusterDownError) for number in of.pending):
                await asyncio.sleep(PAUSE_S)
        if of.answers and all(isinstance(answer, AWAY) for answer in of.answers):
            raise of.answers[0]
        return of.answers

    async def _send(self, of: _Round, *, is_transaction: bool) -> None:
        """Send what is pending, side by side to each node."""
        of.places = {}
        numbers_at: dict[tuple[Place, bool], list[int]] = {}
        for number in of.pending:
            place = of.others.get(number) or self.nodes.owner(of.slots[number])
            if place is None:
                self.nodes.is_stale = True
                of.answers[number] = ClusterDownError("no node holds the slot")  # type: ignore[no-untyped-call]
            else:
                of.places[number] = place
                numbers_at.setdefault((place, number in of.others), []).append(number)
        await asyncio.gather(
            *(
                self._send_to(place, of, numbers, is_asking=is_asking, is_transaction=is_transaction)
                for (place, is_asking), numbers in numbers_at.items()
            )
        )

    async def _send_to(
        self, place: Place, of: _Round, numbers: Sequence[int], *, is_asking: bool, is_transaction: bool
    ) -> None:
        """Run commands at one node; put the answers, or what went wrong, in their places."""
        answers: list[Any]
        try:
            async with self.nodes.client(place).pipeline(transaction=is_transaction) as pipe:
                for words, options in (of.commands[number] for number in numbers):
                    if is_asking:
                        pipe.execute_command(b"ASKING")
                    pipe.execute_command(*words, **options)
                answers = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            if not isinstance(error, REFUSED):
                self.nodes.doubt(place)
            answers = [error if isinstance(error, RedisError) else RedisConnectionError(str(error))] * len(numbers)
        else:
            answers = answers[1::2] if is_asking else answers
        for number, answer in zip(numbers, answers, strict=True):
            of.answers[number] = answer

    def _see_refusals(self, of: _Round) -> None:
        """Find out which commands are to be sent again, and where to."""
        of.others, again, slots_again = {}, list[int](), set[int]()
        for number in of.pending:
            answer = of.answers[number]
            if isinstance(answer, REFUSED):
                if number in of.places:
                    self.nodes.note(answer, of.places[number])
                if isinstance(answer, AskError) and not isinstance(answer, MovedError):
                    of.others[number] = self.nodes.place_in(answer, of.places[number])
            elif of.slots[number] not in slots_again or of.commands[number][0][0] not in READS:
                continue
            # A read after a refused command of its slot is repeated too: it must not be older than that.
            again.append(number)
            slots_again.add(of.slots[number])
        of.pending = again

    async def _load(self, source: str) -> Any:
        """Load a script at each node that holds slots."""
        if self.nodes.is_stale:
            await self.nodes.refresh()
        answers = await asyncio.gather(
            *(node.script_load(own_source(source)) for node in self.nodes.primaries()), return_exceptions=True
        )
        shas = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not shas:
            raise answers[0]
        return shas[0]


class _Pipeline(Pipeline):
    """Commands that are sent together, to as many nodes as they concern."""

    def __init__(self, cluster: ClusterRedis, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, shard_hint)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run the commands; return the answer of each, or raise the first error."""
        try:
            answers = await self._cluster.run_all(self.command_stack, is_transaction=self.is_transaction)
        finally:
            await self.reset()  # type: ignore[no-untyped-call]
        if raise_on_error:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers
