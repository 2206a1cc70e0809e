"""What a test's log and queue are on: one server, one that Sentinels watch, or a cluster with a server for the queue.

`scripts/test --topology cluster tests/tour` runs tests on one of these. Tests that need a server of their own get it
from `started`, so that they run on each topology too.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis as redis_sync
from redis.asyncio import Redis

from midstream.log.cluster import ClusterRedis
from tests import leaks
from tests.servers import ClusterProcesses, SentinelTrio, ValkeyProcess

PLAIN, SENTINEL, CLUSTER = TOPOLOGIES = ("plain", "sentinel", "cluster")
PATIENT_MS = 15_000
"""The time for which a server that all tests share, or that a test freezes, may be silent without a failover."""


@dataclass(frozen=True)
class Servers:
    """Servers that run.

    Attributes:
        url: The address of the log.
        queue_url: That of the queue.
        of_log: The servers that hold the log's keys and may be written to.
        of_queue: The server that holds the queue; the log's where that is one server.
    """

    url: str
    queue_url: str
    of_log: Sequence[ValkeyProcess]
    of_queue: ValkeyProcess

    @property
    def settings(self) -> dict[str, str]:
        """The settings that name the addresses, by their names in `Settings`."""
        return {"redis_url": self.url} | ({"queue_redis_url": self.queue_url} if self.queue_url != self.url else {})

    def each(self) -> set[ValkeyProcess]:
        """Return the servers that hold keys."""
        return {*self.of_log, self.of_queue}

    def flush(self) -> None:
        """Delete all keys."""
        for server in self.each():
            with redis_sync.Redis.from_url(server.url) as client:
                client.flushall()

    def key_leaks(self, *, live_allowed: bool = False, allowed: Sequence[str] = ()) -> list[str]:
        """Return what `leaks.key_leaks` says of each server; a pattern `ms:…` is also that of a shard's key."""
        patterns = [*allowed, *(pattern.replace("ms:", "ms:{*}:", 1) for pattern in allowed)]
        return [
            sentence
            for server in self.each()
            for sentence in leaks.key_leaks(server.url, live_allowed=live_allowed, allowed=patterns)
        ]

    def freeze(self) -> None:
        """Let the log be silent."""
        for server in self.of_log:
            server.freeze()

    def thaw(self) -> None:
        """Undo `freeze`."""
        for server in self.of_log:
            server.thaw()


@contextmanager
def started(topology: str, folder: Path, **options: str) -> Iterator[Servers]:
    """Run the servers of a topology; `options` are further settings of those that hold the log."""
    if topology == SENTINEL:
        with SentinelTrio(folder, down_ms=PATIENT_MS, options=options) as trio:
            yield Servers(trio.url, trio.url, (trio.primary,), trio.primary)
    elif topology == CLUSTER:
        queue = folder / "queue"
        queue.mkdir()
        with (
            ClusterProcesses(folder, node_timeout_ms=PATIENT_MS, settings=options) as cluster,
            ValkeyProcess(queue) as server,
        ):
            yield Servers(cluster.url, server.url, cluster.nodes, server)
    else:
        with ValkeyProcess(folder, options) as server:
            yield Servers(server.url, server.url, (server,), server)


async def node_of(redis: Redis, key: str) -> Redis:
    """Return a client of the server that holds a key: the client itself, unless it is that of a cluster."""
    if not isinstance(redis, ClusterRedis):
        return redis
    if redis.nodes.is_stale:
        await redis.nodes.refresh()
    place = redis.owner(key)
    assert place, "no node holds the key's slot"
    return redis.nodes.client(place)


async def subscribers(node: Redis, channel: str) -> int:
    """Return how many connections to one server, a node of a cluster or not, are subscribed to a channel."""
    words = (b"PUBSUB SHARDNUMSUB", b"PUBSUB NUMSUB")
    counts = [(await node.execute_command(word, channel))[1] for word in words]  # type: ignore[no-untyped-call]
    return int(sum(counts))


def leave_out(config: pytest.Config, items: list[pytest.Item], topology: str) -> None:
    """Deselect the tests that cannot hold on a topology by its nature; the mark says why."""
    left_out = [item for item in items if any(topology in mark.args for mark in item.iter_markers("not_on"))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
