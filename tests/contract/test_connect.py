"""How a process reaches its server: by each kind of URL, and away from one that is no longer the primary."""

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis, SSLConnection
from redis.asyncio.connection import UnixDomainSocketConnection

from midstream.log.connect import connect
from midstream.log.feed import Feed
from midstream.log.log import Log
from midstream.settings import Settings
from tests import inside
from tests.faults.proxy import Proxy
from tests.servers import SERVER_KINDS, SentinelProcess, ValkeyProcess, free_port

TIMEOUT_S = 5.0


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    redis = connect(url, TIMEOUT_S, 4)
    try:
        yield redis
    finally:
        await redis.aclose(close_connection_pool=True)


async def received(redis: Redis) -> list[bytes]:
    """Return what a feed on this client hears of one publication."""
    messages: asyncio.Queue[bytes] = asyncio.Queue()

    def deliver(taken: list[tuple[str, bytes]]) -> None:
        for _, message in taken:
            messages.put_nowait(message)

    feed = Feed(redis, deliver, lambda: None, TIMEOUT_S)
    feed.start()
    await feed.subscribe("channel")
    await redis.publish("channel", b"news")
    message = await asyncio.wait_for(messages.get(), TIMEOUT_S)
    await feed.stop()
    return [message]


async def test_a_unix_socket_is_what_its_url_says(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    with ValkeyProcess(tmp_path, {"unixsocket": str(path), "unixsocketperm": "700"}):
        async with connected(f"unix://{path}?db=3") as redis:
            assert str(path) in (await redis.client_info())["addr"]
            assert (await redis.client_info())["db"] == 3
            assert await Log(redis, "ms").state("none") is None
            assert await received(redis) == [b"news"]


async def test_a_generation_runs_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    with ValkeyProcess(tmp_path, {"unixsocket": str(path)}):
        settings = Settings(redis_url=SecretStr(f"unix://{path}"), demo_delay_ms=1)
        async with inside.worker(settings), inside.broker(settings) as http:
            body = {"model": "demo/count", "input": "x", "params": {"words": 3}, "stream": True}
            answer = await http.post("/v1/streams", json=body)
            assert "event: end" in answer.text


async def test_tls_is_spoken_where_the_url_says_so(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -out {certificate} -keyout {key}"
    made = ["openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    port = free_port()
    options = {"tls-port": str(port), "tls-cert-file": str(certificate), "tls-key-file": str(key)}
    options |= {"tls-auth-clients": "no"}
    try:
        server = ValkeyProcess(tmp_path, options, binary=SERVER_KINDS.get("redis", "")).start()
    except (RuntimeError, OSError):
        pytest.skip("there is no server here that speaks TLS")
    try:
        async with connected(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}") as redis:
            assert await redis.ping()
            assert await received(redis) == [b"news"]
            connection = await redis.connection_pool.get_connection()
            assert isinstance(connection._writer.get_extra_info("ssl_object"), ssl.SSLObject)
            await redis.connection_pool.release(connection)
        (tmp_path / "sentinel").mkdir()
        watched = SentinelProcess(tmp_path / "sentinel", binary=SERVER_KINDS.get("redis", ""))
        tls_port = free_port()
        watched.lines = (
            *(f"tls-port {tls_port}", "tls-replication yes", "tls-auth-clients no", f"tls-ca-cert-file {certificate}"),
            *(f"tls-cert-file {certificate}", f"tls-key-file {key}", f"sentinel monitor main 127.0.0.1 {port} 1"),
        )
        with watched:  # Log/Sentinel: the Sentinels are spoken to over TLS as well
            url = f"rediss+sentinel://127.0.0.1:{free_port()},127.0.0.1:{tls_port}/main/0?ssl_ca_certs={certificate}"
            async with connected(url) as redis:
                assert await redis.ping()
                assert await received(redis) == [b"news"]
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("url", "kind"), [("rediss://host:1/0", SSLConnection), ("unix:///x.sock", UnixDomainSocketConnection)]
)
def test_the_url_chooses_the_connection(url: str, kind: type) -> None:
    pool: Any = connect(url, TIMEOUT_S, 2).connection_pool
    connection = pool.make_connection()
    assert isinstance(connection, kind)
    dials = next(base for base in type(connection).__mro__[2:] if "_connect" in vars(base))
    assert issubclass(kind, dials), "another class would dial somewhere else"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("127.0.0.1:6379", "redis://"),
        ("http://127.0.0.1", "redis://"),
        ("redis+sentinel://a:26379", "service"),
        ("redis+sentinel://a:26379/main/zero", "database"),
        ("redis+sentinel://a:26379,:1/main", "Sentinel without a host"),
        ("rediss+sentinel://a:x/main", "port"),
        ("unix://", "host"),
        ("redis://host:port", "port"),
        ("redis://host/zero", "number"),
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str, word: str) -> None:
    with pytest.raises(ValidationError, match=word) as raised:
        Settings(redis_url=SecretStr(url))
    assert "Traceback" not in str(raised.value)


@pytest.mark.parametrize("kind", SERVER_KINDS)
async def test_a_planned_failover_is_recovered_from(kind: str, tmp_path: Path) -> None:
    """PROTOCOL: Log/Demoted: the old connections stay open, and lead to what is a replica now."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    binary = SERVER_KINDS[kind]
    options = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
    async with contextlib.AsyncExitStack() as stack:
        first, second = (stack.enter_context(ValkeyProcess(folder, options, binary)) for folder in folders)
        old: Any = await stack.enter_async_context(Redis.from_url(first.url))
        new: Any = await stack.enter_async_context(Redis.from_url(second.url))
        proxy = await Proxy(free_port(), first.port).open()
        stack.push_async_callback(proxy.close)
        settings = Settings(redis_url=SecretStr(f"redis://127.0.0.1:{proxy.port}/0"), demo_delay_ms=20)
        await stack.enter_async_context(inside.worker(settings))
        http = await stack.enter_async_context(inside.broker(settings))
        body = {"model": "demo/count", "input": "x", "params": {"words": 200}}
        running = (await http.post("/v1/streams", json=body)).json()["id"]
        reading = asyncio.create_task(http.get(f"/v1/streams/{running}/events"))

        await new.execute_command("REPLICAOF", "127.0.0.1", first.port)
        while (await new.info("replication"))["master_link_status"] != "up":
            await asyncio.sleep(0.02)
        while (await old.info("replication")).get("slave0", {}).get("state") != "online":
            await asyncio.sleep(0.02)  # the master takes a replica for ready a moment later than that itself
        await old.execute_command("FAILOVER", "TO", "127.0.0.1", second.port)
        while (await new.info("replication"))["role"] != "master":
            await asyncio.sleep(0.02)
        proxy.lead_to(second.port)

        began_s = time.monotonic()
        statuses: list[int] = []
        while not statuses or statuses[-1] != 201:
            assert time.monotonic() - began_s < TIMEOUT_S, f"starts are still answered by {statuses}"
            statuses.append((await http.post("/v1/streams", json=body | {"params": {"words": 2}})).status_code)
        assert set(statuses[:-1]) <= {503}
        answer = await asyncio.wait_for(reading, 20)
        assert '"outcome":"completed"' in answer.text
        assert answer.text.count("event: text") + answer.text.count("event: status") > 10
        assert "event: reset" not in answer.text
