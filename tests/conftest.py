"""What every test stands on: a real Valkey server, settings that no environment leaks into, and leak checks."""

import asyncio
import functools
import gc
import inspect
import itertools
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.cli.serve import GC_ALLOCATIONS
from midstream.log.connect import connect, keys_of
from midstream.settings import Settings
from tests import fork_server, leaks, secrets_watch, topology
from tests.servers import ValkeyProcess
from tests.topology import Servers

pytest_plugins = ("tests.provider.fixture",)

FOREIGN_PREFIXES = ("MIDSTREAM_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_")
TASK_GRACE_S = 0.2


WATCH = secrets_watch.Watch()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--topology", choices=topology.TOPOLOGIES, default=topology.PLAIN, help="what the log is on")


def pytest_configure() -> None:
    gc.disable()  # until all tests are imported, of which nothing becomes garbage
    logging.getLogger().addHandler(WATCH)
    os.environ[leaks.RUN_VARIABLE] = str(os.getpid())
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background, which programs would inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Every HTTP client loads all authorities that it may trust, for 40 ms; tests speak to loopback alone.
    os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "data" / "no_authority.pem")


# How long hypothesis may take to draw is a measure of the machine's load, not of what is tested.
hypothesis.settings.register_profile("tests", suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None)
hypothesis.settings.load_profile("tests")


def pytest_collection_finish() -> None:
    """Let the collector walk what tests make, as in a broker, and not all that was imported for them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest tests, some in each process, so that the others run beside them.

    xdist cuts the list into one piece for each process, from its beginning to its end, all of one length.
    """
    topology.leave_out(config, items, config.getoption("topology"))
    durations_s = [(item, mark.args[0]) for item in items if (mark := item.get_closest_marker("slow_start"))]
    slow = [item for item, _ in sorted(durations_s, key=lambda pair: -pair[1])]
    others = iter([item for item in items if item not in slow])
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    length = len(items)
    items.clear()
    for number in range(processes):
        end = len(items) + (length - len(items)) // (processes - number)
        items += slow[number::processes]
        items += itertools.islice(others, max(0, end - len(items)))
    items += others


def pytest_unconfigure() -> None:
    fork_server.close_shared()


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Keep the developer's keys and settings out of the tests."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(FOREIGN_PREFIXES)]:
            environment.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Fail a test that leaves a process or a TCP socket (I8 clean)."""
    before = leaks.Belongings.now()
    yield
    left = leaks.leftovers(before)
    assert not left, "the test left:\n" + "\n".join(left)


@pytest.fixture(autouse=True)
def _no_secret_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that logs a prompt, an answer, a key or a token, in this process or in one that it starts."""
    WATCH.leaks.clear()
    yield
    folder = request.node.funcargs.get("tmp_path")
    leaked = [*WATCH.leaks, *(secrets_watch.leaks_in(folder) if folder else ())]
    assert not leaked, "the logs hold:\n" + "\n".join(leaked)


@pytest.fixture(autouse=True)
def _no_task_left_if_async(request: pytest.FixtureRequest, _nothing_left: None) -> None:
    # Only for coroutines: a sync test needs no loop, and a sync browser's test has one running already.
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_no_task_left")


@pytest.fixture
async def _no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task pending (I8 clean)."""
    yield
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    if pending:
        _, pending = await asyncio.wait(pending, timeout=TASK_GRACE_S)
    assert not pending, "the test left:\n" + "\n".join(map(repr, pending))


@pytest.fixture(scope="session")
def log_on(request: pytest.FixtureRequest) -> str:
    """What the log is on: one of `TOPOLOGIES`."""
    return str(request.config.getoption("topology"))


@pytest.fixture(scope="session")
def all_servers(log_on: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers that all tests share; a test that stops or kills one starts its own."""
    with topology.started(log_on, tmp_path_factory.mktemp("valkey")) as servers:
        yield servers


@pytest.fixture
def redis_server(all_servers: Servers) -> ValkeyProcess:
    """The one server of the log; on a cluster, that of the queue."""
    return all_servers.of_queue


@pytest.fixture
def servers(all_servers: Servers, request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The servers, empty; fails the test if keys without TTL, or live streams, are left on them (I8 clean)."""
    all_servers.flush()
    yield all_servers
    left = all_servers.key_leaks(
        live_allowed=request.node.get_closest_marker("leaves_live") is not None,
        allowed=[pattern for mark in request.node.iter_markers("leaves") for pattern in mark.kwargs["keys"]],
    )
    assert not left, "the test left:\n" + "\n".join(left)


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """URL of the log."""
    return servers.url


@pytest.fixture
def queue_road(servers: Servers) -> dict[str, str]:
    """The setting that names the queue's server, for real processes; empty where it is the log's."""
    return {name: url for name, url in servers.settings.items() if name != "redis_url"}


@pytest.fixture
async def redis(servers: Servers, log_on: str) -> AsyncIterator[Redis]:
    """A client of the empty log; replies are bytes."""
    # Not redis-py's own `socket_timeout`: before Python 3.12 it loses the cancellation of what a test stops.
    client = connect(servers.url if log_on == topology.CLUSTER else servers.of_queue.url, 10.0, 32)
    yield client
    await client.aclose()


@pytest.fixture
async def node(redis: Redis) -> Redis:
    """A client of the server that holds the streams which have no tenant in their name."""
    return await topology.node_of(redis, keys_of(redis, "ms").near("x").due)


@pytest.fixture
async def queue(redis: Redis, servers: Servers, log_on: str) -> AsyncIterator[Redis]:
    """A client of the queue's server."""
    if log_on != topology.CLUSTER:
        yield redis
        return
    async with connect(servers.queue_url, 10.0, 32) as client:
        yield client


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `both_ways` with the fast path, and once more with the server's own protocol."""
    marked = metafunc.definition.get_closest_marker
    if marked("both_ways") and not marked("wire_only") and "fast_path" in metafunc.fixturenames:
        metafunc.parametrize("fast_path", ["auto", "off"], ids=["wire", "send"])


@pytest.fixture
def fast_path() -> str:
    """How the broker serves: `MIDSTREAM_FAST_PATH`."""
    return "auto"


@functools.cache
def _quick_settings() -> Settings:
    """Read the environment, which names none of our settings, once: that takes 2 ms."""
    return Settings(
        redis_timeout_s=5.0,
        port=0,
        max_body_bytes=1_048_576,
        lease_ms=1_000,
        requeue_ms=500,
        drain_s=2.0,
        broker_drain_ms=500,
        flush_ms=5,
        demo_delay_ms=1,
    )


@pytest.fixture
def settings(servers: Servers, fast_path: str) -> Settings:
    """Settings on the empty log, quick enough to wait for: leases of a second, no paced demo."""
    urls = {name: SecretStr(url) for name, url in servers.settings.items()}
    return _quick_settings().model_copy(update={"fast_path": fast_path, **urls})
