"""Prometheus reads a broker and a worker on a port of their own. PROTOCOL: Metrics/Listener, Metrics/Cost."""

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from midstream import counters
from midstream.metrics import listener as metrics_listener
from midstream.metrics.listener import MAX_CONNECTIONS, MetricsListener
from midstream.metrics.metrics_settings import MetricsPortError
from midstream.metrics.page import Readings
from midstream.service.services import open_services
from midstream.settings import Settings
from tests import inside
from tests.servers import ValkeyProcess, free_port

COUNT = {"model": "demo/count", "input": "x", "params": {"words": 5, "delay_ms": 5}}


def values(text: str) -> dict[str, float]:
    """Return the value of each row, by its name with its labels."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        f"{each.name}{{{','.join(f'{name}={value}' for name, value in sorted(each.labels.items()))}}}": each.value
        for each in samples
    }


async def nothing() -> Readings:
    return {}


@asynccontextmanager
async def listening(read: object = nothing) -> AsyncIterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    metrics = MetricsListener("broker", read, frozenset(["own.example"]))  # type: ignore[arg-type]
    await metrics.start(listener)
    try:
        yield host, port
    finally:
        await metrics.stop()


async def exchange(address: tuple[str, int], request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_it_has_one_path_and_one_method() -> None:
    async with listening() as address:
        assert b" 404 " in await exchange(address, b"GET / HTTP/1.1\r\n\r\n")
        assert b" 404 " in await exchange(address, b"GET /v1/streams HTTP/1.1\r\n\r\n")
        assert b" 404 " in await exchange(address, b"nothing of this is HTTP\r\n\r\n")
        assert b" 405 " in await exchange(address, b"POST /metrics HTTP/1.1\r\n\r\n")
        head, _, body = (await exchange(address, b"GET /metrics?x=1 HTTP/1.1\r\n\r\n")).partition(b"\r\n\r\n")
    assert b" 200 OK" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert "midstream_redis_connects_total{}" in values(body.decode())


async def test_hosts_whose_name_anybody_could_have_are_refused() -> None:
    """PROTOCOL: Metrics/Listener."""
    async with listening() as address:
        for host in (b"evil.example", b"evil.example:9464", b"[::1", b"", b"10.0.0.1.nip.io"):
            assert b" 421 " in await exchange(address, b"GET /metrics HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
        for host in (b"127.0.0.1:9464", b"10.0.0.5", b"[::1]:9464", b"worker-1:9464", b"localhost", b"own.example:1"):
            assert b" 200 " in await exchange(address, b"GET /metrics HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")


async def test_a_page_is_compressed_for_those_who_ask() -> None:
    async with listening() as address:
        request = b"GET /metrics HTTP/1.1\r\nAccept-Encoding: deflate, gzip;q=1.0\r\n\r\n"
        head, _, body = (await exchange(address, request)).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert "midstream_redis_connects_total{}" in values(gzip.decompress(body).decode())


async def test_heads_that_are_slow_or_large_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_listener, "EXCHANGE_S", 0.2)
    async with listening() as address:
        assert await exchange(address, b"GET /metrics HTT") == b""
        with contextlib.suppress(ConnectionResetError):
            assert await exchange(address, b"GET /" + b"x" * 100_000) == b""
        assert b" 200 OK" in await exchange(address, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_more_connections_than_allowed_are_closed() -> None:
    async with listening() as address:
        silent = [await asyncio.open_connection(*address) for _ in range(MAX_CONNECTIONS)]
        with contextlib.suppress(ConnectionResetError):
            assert await exchange(address, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while b" 200 OK" not in await exchange(address, b"GET /metrics HTTP/1.1\r\n\r\n"):
                await asyncio.sleep(0.01)


async def test_many_scrapes_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0

    async def read() -> Readings:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.01)
        return {("queue_depth",): reads}

    monkeypatch.setattr(metrics_listener, "KEEP_S", 60.0)
    async with listening(read) as address:
        async with asyncio.TaskGroup() as scrapes:
            for _ in range(5):
                scrapes.create_task(exchange(address, b"GET /metrics HTTP/1.1\r\n\r\n"))
        assert b"midstream_queue_depth 1.0" in await exchange(address, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert reads == 1


async def test_a_process_whose_port_is_taken_does_not_start(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = settings.model_copy(update={"metrics_port": other.getsockname()[1]})
        with pytest.raises(MetricsPortError, match="MIDSTREAM_METRICS_PORT"):
            taken.metrics_listener()
        with pytest.raises(MetricsPortError):
            async with inside.worker(taken):
                pass
    assert settings.metrics_listener() is None, "none, unless a port is set"


async def test_a_worker_and_a_broker_show_what_they_did(settings: Settings) -> None:
    """PROTOCOL: Metrics/Listener."""
    port = free_port()
    with_metrics = settings.model_copy(update={"metrics_port": port})
    async with (
        inside.broker(settings) as client,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as prometheus,
    ):
        assert (await client.get("/metrics")).status_code == 404, "the public port has none"
        started = await client.post("/v1/streams", json=COUNT)
        async with open_services(settings) as services:
            before = await services.readings()
        async with inside.worker(with_metrics) as process:
            stream = await client.get(f"/v1/streams/{started.json()['id']}", params={"wait": 10})
            assert stream.json()["outcome"] == "completed"
            while any(value for (name, *_), value in (await process.readings()).items() if name == "generations"):
                await asyncio.sleep(0.005)  # a client may see the end before its worker has counted it
            worker = values((await prometheus.get("/metrics")).text)
    assert before["queue_depth",] == 1
    assert 0 <= before["queue_oldest_age_seconds",] < 5
    assert worker["midstream_queue_depth{}"] == 0
    assert worker["midstream_ends_total{code=,outcome=completed}"] >= 1
    assert worker["midstream_append_seconds_count{}"] >= 1
    assert worker["midstream_generations_max{}"] == settings.max_generations
    assert worker["midstream_draining{}"] == 0
    call = "{error_type=,gen_ai_operation_name=chat,gen_ai_provider_name=demo,gen_ai_request_model=count}"
    assert worker[f"gen_ai_client_operation_duration_seconds_count{call}"] >= 1


async def test_it_is_measured_how_long_a_resumed_tail_takes_to_catch_up(settings: Settings) -> None:
    catch_ups = counters.distribution("catch_up_seconds").numbers
    async with inside.broker(settings) as client, inside.worker(settings):
        started = await client.post("/v1/streams", json=COUNT)
        path = f"/v1/streams/{started.json()['id']}"
        tail = (await client.get(path, params={"wait": 10})).json()["tail"]
        before = sum(catch_ups)
        whole = await client.get(f"{path}/events")
        assert sum(catch_ups) == before, "it begins at the start"
        rest = await client.get(f"{path}/events", headers={"Last-Event-ID": "2"})
        assert sum(catch_ups) == before + 1
    assert whole.text.endswith(rest.text.partition("\n\n")[2])
    assert f"id: {tail}\n" in rest.text


async def test_a_broker_tells_of_its_tails(settings: Settings) -> None:
    async with open_services(settings) as services:
        readings = await services.readings()
    assert readings["tails",] == readings["slowest_tail_lag_entries",] == readings["draining",] == 0


async def test_a_page_without_redis_lacks_the_queue_alone(settings: Settings, tmp_path: Path) -> None:
    """PROTOCOL: Metrics/Cost."""
    with ValkeyProcess(tmp_path) as valkey:
        own = settings.model_copy(update={"redis_url": SecretStr(valkey.url)})
        await _readings_without(valkey, own)


async def _readings_without(valkey: ValkeyProcess, settings: Settings) -> None:
    async with open_services(settings) as services:
        valkey.freeze()
        try:
            async with asyncio.timeout(4):
                readings = await services.readings()
        finally:
            valkey.thaw()
    assert ("tails",) in readings
    assert ("queue_depth",) not in readings
