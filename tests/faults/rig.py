"""Real processes to break: a durable Valkey, a provider that counts, brokers, one worker at work and spares."""

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
from redis.asyncio import Redis

from midstream.log.calls import SOURCES
from midstream.log.connect import connect
from tests import fork_server
from tests.faults import stepping
from tests.faults.fleets import Fleet, fleet_of
from tests.faults.members import Member, base_environment
from tests.faults.trial import key_of
from tests.provider.client import ProviderServer
from tests.servers import SERVER_KINDS, ValkeyProcess, free_port
from tests.topology import PLAIN

LEASE_MS = 1_000
SETTINGS = {
    "LEASE_MS": LEASE_MS,
    "REDIS_TIMEOUT_S": 2,
    "REDIS_CONNECTIONS": 300,
    "REQUEUE_MS": 500,
    "DRAIN_S": 1.5,
    "HEARTBEAT_MS": 500,
    "RETRY_MS": 50,
    "SEND_TIMEOUT_MS": 1_500,
    "TOMBSTONE_S": 2,
    "RETENTION_S": 900,
    "DEFAULT_MODEL": "demo/story",
    "APPS": f'{{"till": "{stepping.APP}"}}',
}
Serve = Callable[[Path, str], ValkeyProcess]
"""Makes a server that keeps its data in a folder and runs a binary."""


def crash_proof(directory: Path, binary: str) -> ValkeyProcess:
    """Return a server as tests have it everywhere: it may be killed, but its power is never cut."""
    return ValkeyProcess(directory, binary=binary)


def _addresses(fleet: Fleet | None) -> dict[str, str]:
    """Return the environment that names servers, and the keys of their tenants."""
    if fleet is None:
        return {}
    keys = ",".join(f"{key_of(tenant)}:{tenant}" for tenant in fleet.tenants)
    return (
        {"MIDSTREAM_REDIS_URL": fleet.url}
        | ({"MIDSTREAM_QUEUE_REDIS_URL": fleet.queue.url} if fleet.queue else {})
        | ({"MIDSTREAM_API_KEYS": keys} if keys else {})
    )


class Rig:
    """Everything that a family needs; what was started ends with it.

    Attributes:
        server: The process of Valkey, or of Redis; where there are several, the one that has the queue at the start.
        fleet: All servers, where one may take another one's place; none: there is one server.
        redis: A client of it that goes past all proxies.
        provider: The provider's books.
        brokers: Those that are up.
        settings: Settings of all processes, without their prefix.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        server: str,
        provider_url: str,
        serve: Serve = crash_proof,
        topology: str = PLAIN,
        **settings: object,
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311 - the same seed draws the same cases
        self.folder = folder
        (folder / "valkey").mkdir(parents=True)
        self.fleet = fleet_of(topology, folder / "valkey", server)
        if self.fleet is None:
            self.server = serve(folder / "valkey", SERVER_KINDS[server])
            self.redis: Redis = Redis(port=self.server.port, socket_timeout=10.0)
        else:
            self.server = self.fleet.queue or self.fleet.members()[0]
            self.redis = connect(self.fleet.url, 2.0, 16)
        # A broker closes what is idle for 5 s, and loses a request that meets that: this client is the first to close.
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=2.0)
        self.http = httpx2.AsyncClient(timeout=10.0, limits=limits)
        self.brokers: list[Member] = []
        self.broker_ports = [free_port(), free_port()]
        self.settings = SETTINGS | {name.upper(): value for name, value in settings.items()}
        self._environment = base_environment() | {
            "OPENAI_API_KEY": "sk-test",
            "OPENAI_BASE_URL": f"{provider_url}/v1",
            "ANTHROPIC_API_KEY": "sk-ant-test",
            "ANTHROPIC_BASE_URL": provider_url,
            "GEMINI_API_KEY": "test",
            "GEMINI_BASE_URL": provider_url,
            "MIDSTREAM_PROVIDERS": json.dumps(
                {
                    "compat": f"{provider_url}/v1",
                    "vllm": {"url": f"{provider_url}/v1", "dialect": "responses", "background": True},
                }
            ),
            **{f"MIDSTREAM_{name}": str(value) for name, value in self.settings.items()},
            **_addresses(self.fleet),
        }
        self._members: list[Member] = []
        self._books = httpx2.AsyncClient(base_url=provider_url, timeout=30.0)
        self.provider = ProviderServer(provider_url, self._books)
        self._worker: Member | None = None

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread((self.fleet or self.server).start)
            await self.load_scripts()
            for at in range(len(self.broker_ports)):
                await self.start_broker(at)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Kill everything."""
        try:
            killed = (member.kill() for member in self._members if member.alive)
            await asyncio.gather(*killed, return_exceptions=True)  # the fork servers' end makes sure of it
            await self.http.aclose()
            await self._books.aclose()
            await self.redis.aclose(close_connection_pool=True)
        finally:
            await asyncio.to_thread((self.fleet or self.server).kill)

    @property
    def urls(self) -> list[str]:
        """Where the brokers listen."""
        return [f"http://127.0.0.1:{port}" for port in self.broker_ports]

    async def load_scripts(self) -> None:
        """Have the server know all scripts, so that a proxy's rule meets no command that is refused for that."""
        for source in SOURCES.values():
            await self.redis.script_load(source)

    async def start_broker(
        self, at: int, preload: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Member:
        """Start the broker that listens on the port number `at`; `preload` and `environment` are as of a worker."""
        member = await self._member(f"broker{at}-{len(self._members)}", preload, environment)
        await member.start("Application startup complete", "midstream", "broker", "--port", str(self.broker_ports[at]))
        if len(self.brokers) > at:
            self.brokers[at] = member
        else:
            self.brokers.append(member)
        return member

    async def worker(self) -> Member:
        """Return the one worker that takes streams."""
        if self._worker is None or not self._worker.alive:
            self._worker = await self.start_worker()
        return self._worker

    async def standby(self) -> Member:
        """Return a further worker, frozen; thaw it to let it take what another one lost."""
        standby = await self.start_worker()
        standby.freeze()
        return standby

    def succeed(self, heir: Member) -> None:
        """Make a standby the one worker."""
        self._worker = heir

    def starved_ms(self) -> dict[int, float]:
        """Return how long the threads of each process have been ready to run without a CPU, so far (Linux).

        Our own process counts too, because everything between the others and Redis passes through its proxies.
        """
        starved = {}
        for pid in (os.getpid(), self.server.pid, *(member.pid for member in self._members if member.alive)):
            with contextlib.suppress(OSError):  # it has just ended, or the system does not say
                threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
                starved[pid] = sum(int(thread.read_text().split()[1]) for thread in threads) / 1e6
        return starved

    def starved_since(self, before: dict[int, float]) -> float:
        """Return how long all processes together have waited for a CPU since `starved_ms` returned `before`."""
        return sum(ms - before.get(pid, ms) for pid, ms in self.starved_ms().items())

    def logs(self) -> str:
        """Return the last words of every process that ever ran, the latest ones last."""
        return "\n".join(f"--- {member.name}\n{member.log_tail()}" for member in self._members[-6:])

    async def start_worker(
        self, preload: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Member:
        """Start a worker; `preload` is environment that must be there before its first instruction."""
        member = await self._member(f"worker{len(self._members)}", preload, environment)
        await member.start("worker ready", "worker")
        return member

    async def member(self, name: str) -> Member:
        """Return a process that is not started yet."""
        return await self._member(f"{name}{len(self._members)}", None, None)

    async def _member(
        self, name: str, preload: Mapping[str, str] | None, environment: Mapping[str, str] | None
    ) -> Member:
        server = await asyncio.to_thread(fork_server.shared, preload)
        whole = {**self._environment, **(preload or {}), **(environment or {})}
        member = Member(server, name, self.folder, self.server.port, whole)
        self._members.append(member)
        return member
