"""The feed of a cluster: a connection to each node, because a node tells only its own subscribers what is published.

A server ends the subscriptions to the channels of a slot that has moved to another node, and refuses new ones with
MOVED. Whatever went wrong, the feed asks where the slots are and subscribes again, until each channel is confirmed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import hiredis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from midstream.log.cluster import ClusterRedis
from midstream.log.cluster_nodes import Place
from midstream.log.feed import Feed, Intake
from midstream.log.forever import forever

SETTLE_S: Final = 0.1
"""The rest before channels that are not confirmed are subscribed again."""


class _NodeFeed(Feed):
    """The connection to one node. It has no channels of its own: `owner` has them."""

    def __init__(self, redis: Redis, owner: "ClusterFeed", place: Place, timeout_s: float) -> None:
        super().__init__(redis, owner.deliver, owner.trouble, timeout_s)
        self._owner = owner
        self._place = place

    def send(self, *command: str) -> None:
        """Send a command if the node is connected; otherwise `ClusterFeed.connected` follows."""
        self._send(*command)

    def _begin(self, _intake: Intake) -> None:
        self._owner.connected(self._place)

    def _lost(self) -> None:
        self._owner.lost(self._place)

    def _take(self, replies: list[Any]) -> None:
        messages = []
        for reply in replies:
            match reply:
                case [b"smessage", channel, message]:
                    messages.append((channel.decode(), message))
                case [b"ssubscribe", channel, _]:
                    self._owner.subscribed(channel.decode(), self._place)
                case [b"sunsubscribe", bytes(channel), _]:
                    self._owner.unsubscribed(channel.decode(), self._place)
                case hiredis.ReplyError():
                    self._owner.trouble()
        self._deliver(messages)


class ClusterFeed(Feed):
    """Does what `Feed` does, for the channels of a cluster."""

    def __init__(
        self,
        redis: ClusterRedis,
        deliver: Callable[[list[tuple[str, bytes]]], None],
        regained: Callable[[], None],
        timeout_s: float,
    ) -> None:
        super().__init__(redis, deliver, regained, timeout_s)
        self.deliver = deliver
        self._cluster = redis
        self._nodes: dict[Place, _NodeFeed] = {}
        self._confirmed: dict[str, Place] = {}
        self._in_trouble = asyncio.Event()
        self._lost_channels: set[str] = set()
        """Of which messages may have been lost, and which are not confirmed again."""
        self._has_begun = False

    def start(self) -> None:
        """Stay connected, until `stop`, to all nodes that hold a channel."""
        self._in_trouble.set()
        self._task = asyncio.create_task(forever("cluster feed", self._settle_always), name="cluster feed")

    async def stop(self) -> None:
        """Close the connections."""
        await super().stop()
        for node in self._nodes.values():
            await node.stop()

    def connected(self, place: Place) -> None:
        """Subscribe to what a node holds, on its new connection."""
        for channel in self._unconfirmed():
            if self._cluster.owner(channel) == place:
                self._nodes[place].send("SSUBSCRIBE", channel)

    def lost(self, place: Place) -> None:
        """Hear that the connection to a node is lost."""
        for channel in [channel for channel, at in self._confirmed.items() if at == place]:
            del self._confirmed[channel]
            self._lost_channels.add(channel)
        if self._unconfirmed():
            self._in_trouble.set()

    def subscribed(self, channel: str, place: Place) -> None:
        """Take a node's confirmation."""
        ack = self._acks.get(channel)
        if ack is None:
            return
        self._confirmed[channel] = place
        if not ack.done():
            ack.set_result(None)

    def unsubscribed(self, channel: str, place: Place) -> None:
        """Hear that a node has ended a subscription: its slot has moved, unless this process asked for it."""
        if self._confirmed.get(channel) == place:
            del self._confirmed[channel]
            self._lost_channels.add(channel)
            self._in_trouble.set()

    def trouble(self) -> None:
        """Subscribe again what is not confirmed."""
        self._in_trouble.set()

    def _unconfirmed(self) -> list[str]:
        return [channel for channel in self._acks if channel not in self._confirmed]

    def _ask(self, channel: str) -> None:
        place = self._cluster.owner(channel)
        if place is None:
            self._in_trouble.set()
            return
        node = self._nodes.get(place)
        if node is None:
            node = self._nodes[place] = _NodeFeed(self._cluster.nodes.client(place), self, place, self._timeout_s)
            node.start()
        node.send("SSUBSCRIBE", channel)

    def _drop(self, channel: str) -> None:
        place = self._confirmed.pop(channel, None) or self._cluster.owner(channel)
        if place in self._nodes:
            self._nodes[place].send("SUNSUBSCRIBE", channel)

    async def _settle_always(self) -> None:
        while True:
            await self._in_trouble.wait()
            self._in_trouble.clear()
            while True:
                with contextlib.suppress(RedisError, OSError):
                    await self._cluster.nodes.refresh()
                for channel in self._unconfirmed():
                    self._ask(channel)
                await self._part_from_strangers()
                await asyncio.sleep(SETTLE_S)
                unconfirmed = self._unconfirmed()
                self._tell_what_came_back(unconfirmed)
                if not unconfirmed:
                    break

    def _tell_what_came_back(self, unconfirmed: list[str]) -> None:
        """Say that messages may have been missed, as soon as it can be read what they were.

        The channels of a node that stays away keep those of no other node waiting.
        """
        still_lost = self._lost_channels.intersection(unconfirmed)
        if still_lost != self._lost_channels or not (self._has_begun or unconfirmed):
            self._lost_channels, self._has_begun = still_lost, True
            self._regained()

    async def _part_from_strangers(self) -> None:
        """Close the connections to nodes that hold no channel any more."""
        for place in self._nodes.keys() - {*self._confirmed.values(), *map(self._cluster.owner, self._unconfirmed())}:
            await self._nodes.pop(place).stop()


def feed_of(
    redis: Redis,
    deliver: Callable[[list[tuple[str, bytes]]], None],
    regained: Callable[[], None],
    timeout_s: float,
) -> Feed:
    """Return the feed of a client's server, or that of its cluster."""
    kind: Any = ClusterFeed if isinstance(redis, ClusterRedis) else Feed
    feed: Feed = kind(redis, deliver, regained, timeout_s)
    return feed
