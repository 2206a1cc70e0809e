"""The leak checks themselves: what they find, and what they let pass (I8 clean)."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_sync
from redis.asyncio import Redis

from tests import leaks
from tests.servers import ValkeyProcess


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_S", 0.0)


async def test_key_leaks_names_each_key_that_would_stay(server: ValkeyProcess) -> None:
    async with Redis.from_url(server.url) as redis:
        await redis.set("with-ttl", 1, ex=60)
        await redis.set("stray", 1)
        await redis.hset("ms:{a}:state", "status", "ended")
        await redis.hset("ms:{b}:state", "status", "queued")
        await redis.xadd("ms:{b}:log", {"e": b"t"})
        await redis.xadd("ms:{c}:log", {"e": b"t"})
        await redis.zadd("ms:due", {"b": 1})

    over = ["ms:{a}:state: no TTL, and its stream is ended", "ms:{c}:log: no TTL, and its stream is gone"]
    live = ["ms:due: no TTL", "ms:{b}:log: its stream was left queued", "ms:{b}:state: its stream was left queued"]
    assert leaks.key_leaks(server.url) == sorted([*over, *live, "stray: no TTL"])
    assert leaks.key_leaks(server.url, live_allowed=True, allowed=["str*"]) == over


def test_leftovers_are_a_child_and_an_orphan_and_a_listening_socket() -> None:
    before = leaks.Belongings.now()
    orphaned = "import subprocess as s; print(s.Popen(['sleep', '60'], stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    orphan = int(subprocess.run([sys.executable, "-c", orphaned], check=True, capture_output=True, text=True).stdout)
    waiting = "print(flush=True); import time; time.sleep(61)"  # until it says so, it can be without a command
    child_of_ours = [sys.executable, "-c", waiting]
    with socket.socket() as listener, subprocess.Popen(child_of_ours, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        left = leaks.leftovers(before)
        child.kill()
        subprocess.run(["kill", str(orphan)], check=True)

    assert sorted(left) == sorted(
        [
            f"process {child.pid}: {' '.join(child_of_ours)}",
            f"process {orphan}: sleep 60",
            f"socket: port {left[-1].split()[2]} to 0",
        ]
    )


def test_a_killed_server_comes_back_with_its_data(server: ValkeyProcess) -> None:
    with redis_sync.Redis.from_url(server.url) as client:
        client.set("written", "before the crash")
        server.restart()
        assert client.get("written") == b"before the crash"
