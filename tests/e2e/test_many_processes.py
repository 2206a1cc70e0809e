"""Several brokers on one port and several workers: clients notice nothing of it."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from pathlib import Path

import httpx2
import pytest

from tests import sse
from tests.servers import free_port
from tests.system import System


@pytest.mark.timeout(120)
async def test_brokers_on_one_port_and_workers_share_the_load(redis_url: str, tmp_path: Path) -> None:
    async with System(redis_url, tmp_path, demo_delay_ms=2) as system:
        system.broker_arguments = ("--workers", "3")
        await system.start(brokers=1, workers=2)
        ids = [await system.post(model="demo/count", input="x", params={"words": 200}) for _ in range(10)]
        tails = await asyncio.gather(*(sse.tail(system.http, stream_id) for stream_id in ids for _ in range(3)))
        assert all([event.id for event in events] == list(range(1, len(events) + 1)) for events in tails)
        assert {events[-1].data["outcome"] for events in tails} == {"completed"}

        system.brokers[0].send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(system.brokers[0].wait(), 10) == 0


@pytest.mark.timeout(120)
async def test_each_process_on_one_port_has_metrics_of_its_own(redis_url: str, tmp_path: Path) -> None:
    """PROTOCOL: Metrics/Listener."""
    ports = free_ports(2)
    async with System(redis_url, tmp_path, metrics_port=ports[0]) as system, httpx2.AsyncClient() as prometheus:
        system.broker_arguments = ("--workers", "2")
        await system.start_broker()
        starts = 0
        for _ in range(6):
            stream_id = await system.post(model="demo/count", input="x", params={"words": 3})
            await system.http.delete(f"/v1/streams/{stream_id}")
        for port in ports:
            page = await page_of(prometheus, port)
            (number,) = re.findall(r'^midstream_starts_total\{result="new"\} (\d+)', page, re.MULTILINE) or ["0"]
            starts += int(number)
            assert "process_resident_memory_bytes " in page
        assert starts == 6


@pytest.mark.timeout(120)
async def test_a_worker_of_several_processes_replaces_one_that_dies(redis_url: str, tmp_path: Path) -> None:
    """One of them is killed: another one takes its place, and a signal ends all."""
    async with System(redis_url, tmp_path, demo_delay_ms=2) as system:
        await system.start(workers=0)
        words = ("-P", "-m", "midstream.cli", "worker", "--processes", "2")
        parent = await asyncio.create_subprocess_exec(
            sys.executable, *words, env=system.environment, cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            first = await workers_of(system, set())
            os.kill(min(first), signal.SIGKILL)
            second = await workers_of(system, {min(first)})
            assert first & second == {max(first)}
            stream_id = await system.post(model="demo/count", input="x", params={"words": 3})
            assert (await system.ended(stream_id))["outcome"] == "completed"
        finally:
            parent.send_signal(signal.SIGTERM)
            status = await asyncio.wait_for(parent.wait(), 20)
    assert status == 0
    assert not any(map(lives, second))


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def workers_of(system: System, gone: set[int]) -> set[int]:
    """Wait until two workers live, none of them `gone`; return their process ids."""
    async with asyncio.timeout(30):
        while True:
            workers = (await system.http.get("/v1/operate/workers")).json()["data"]
            pids = {int(worker["pid"]) for worker in workers} - gone
            if len(pids) == 2:
                return pids
            await asyncio.sleep(0.05)


async def page_of(prometheus: httpx2.AsyncClient, port: int) -> str:
    """Return the metrics of a process, which may still be about to listen: one of several answers the clients."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(httpx2.TransportError):
                return (await prometheus.get(f"http://127.0.0.1:{port}/metrics")).text
            await asyncio.sleep(0.02)


def free_ports(number: int) -> list[int]:
    """Return ports of loopback, one after the other, that nothing listens on."""
    while True:
        first = free_port()
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            ports = [*range(first, first + number)]
            for port in ports:
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return ports
