"""Servers of which one takes another one's place: a primary that Sentinels watch, or a cluster with replicas."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import redis as redis_sync

from tests.servers import SERVER_KINDS, ClusterProcesses, SentinelTrio, ValkeyProcess, wait_until
from tests.topology import CLUSTER, SENTINEL

NOT_WHOLE = "a primary has no replica that keeps up"


class Fleet(Protocol):
    """What families ask of the servers of a topology.

    Attributes:
        url: The address of the log.
        queue: The server of the queue; none: it is the log's.
        tenants: Whose streams are to be started, so that several nodes have some; empty: those of an open broker.
    """

    url: str
    queue: ValkeyProcess | None
    tenants: Sequence[str]

    def start(self) -> object:
        """Start all of them, and return once each primary has its replica."""

    def kill(self) -> None:
        """Let all of them crash."""

    def members(self) -> Sequence[ValkeyProcess]:
        """Return the servers that may be primaries."""

    def switch(self, primary: ValkeyProcess) -> None:
        """Begin a planned failover of a primary."""

    def agrees(self, primary: int) -> bool:
        """Tell whether those that watch agree that the server at a port is a primary, and are done with failovers."""


class SentinelFleet:
    """A primary, its replica and three Sentinels, which wait 300 ms for one that is silent."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._trio = SentinelTrio(folder, SERVER_KINDS[kind])
        self.url = self._trio.url
        self.queue: ValkeyProcess | None = None
        self.tenants: Sequence[str] = ()

    def start(self) -> object:
        """Do as `Fleet`."""
        return self._trio.start()

    def kill(self) -> None:
        """Do as `Fleet`."""
        self._trio.kill()

    def members(self) -> Sequence[ValkeyProcess]:
        """Do as `Fleet`."""
        return self._trio.primary, self._trio.replica

    def switch(self, primary: ValkeyProcess) -> None:  # noqa: ARG002 - there is one
        """Do as `Fleet`."""
        with self._trio.admin(self._trio.sentinels[0]) as client:
            client.execute_command("SENTINEL", "FAILOVER", self._trio.SERVICE)

    def agrees(self, primary: int) -> bool:
        """Do as `Fleet`."""
        for sentinel in self._trio.sentinels:
            with self._trio.admin(sentinel) as client:
                seen = client.sentinel_master(self._trio.SERVICE)
                replicas = client.sentinel_slaves(self._trio.SERVICE)
            if (seen["port"], seen["flags"], [each["flags"] for each in replicas]) != (primary, "master", ["slave"]):
                return False
        return True


class ClusterFleet:
    """Three primaries with a replica each, which wait 500 ms for a node that is silent, and the queue's server."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._cluster = ClusterProcesses(folder, kind, primaries=3, replicas=3)
        (folder / "queue").mkdir()
        self.queue: ValkeyProcess | None = ValkeyProcess(folder / "queue", binary=SERVER_KINDS[kind])
        self.url = self._cluster.url
        self.tenants: Sequence[str] = tuple(f"tenant{number}" for number in range(12))

    def start(self) -> object:
        """Do as `Fleet`."""
        assert self.queue
        self.queue.start()
        return self._cluster.start()

    def kill(self) -> None:
        """Do as `Fleet`."""
        assert self.queue
        self._cluster.kill()
        self.queue.kill()

    def members(self) -> Sequence[ValkeyProcess]:
        """Do as `Fleet`."""
        return self._cluster.nodes

    def switch(self, primary: ValkeyProcess) -> None:
        """Do as `Fleet`."""
        with self._cluster.admin(replica_of(self, primary)) as client:
            client.execute_command("CLUSTER", "FAILOVER")

    def agrees(self, primary: int) -> bool:  # noqa: ARG002 - the nodes say so of themselves
        """Do as `Fleet`."""
        return True


def fleet_of(topology: str, folder: Path, kind: str) -> Fleet | None:
    """Return the servers of a topology, none of which runs; None: it is one server."""
    if topology == SENTINEL:
        return SentinelFleet(folder, kind)
    return ClusterFleet(folder, kind) if topology == CLUSTER else None


def primaries(fleet: Fleet) -> list[ValkeyProcess]:
    """Return the servers that are primaries now."""
    return [each for each in fleet.members() if _replication(each).get("role") == "master"]


@contextmanager
def lagging(fleet: Fleet, primary: ValkeyProcess) -> Iterator[None]:
    """Keep a primary's replica from all that is written meanwhile; afterwards it may follow a primary again.

    It is given a password for its primary, which has none and refuses it.
    """
    with redis_sync.Redis(port=replica_of(fleet, primary).port, socket_timeout=5.0) as replica:
        replica.config_set("masterauth", "none is needed")
        with redis_sync.Redis(port=primary.port, socket_timeout=5.0) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        yield
        replica.config_set("masterauth", "")


def replica_of(fleet: Fleet, primary: ValkeyProcess) -> ValkeyProcess:
    """Return the replica of a primary."""
    (replica,) = (each for each in fleet.members() if _replication(each).get("master_port") == primary.port)
    return replica


def wait_until_whole(fleet: Fleet) -> None:
    """Return once each primary has a replica that has all of its writes, and every node knows who is one.

    Raises:
        AssertionError: That took too long.
    """
    wait_until(lambda: _is_whole(fleet), NOT_WHOLE)


def _is_whole(fleet: Fleet) -> bool:
    members = fleet.members()
    rows = [_replication(each) for each in members]
    masters = [each.port for each, row in zip(members, rows, strict=True) if row.get("role") == "master"]
    if len(masters) * 2 != len(members) or not all(map(fleet.agrees, masters)):
        return False
    return all(
        row.get("connected_slaves") == 1 and row["slave0"]["state"] == "online"
        if row.get("role") == "master"
        else row.get("master_link_status") == "up"
        for row in rows
    )


def _replication(server: ValkeyProcess) -> dict[str, Any]:
    """Return what a server says of its replication; nothing if it is away."""
    try:
        with redis_sync.Redis(port=server.port, socket_timeout=0.5) as client:
            answer: Any = client.info("replication")
            return dict(answer)
    except redis_sync.RedisError:
        return {}
