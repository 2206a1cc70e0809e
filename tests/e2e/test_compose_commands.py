"""Each service of the compose file, by its own command line and environment, as plain processes.

Only what the file itself leaves open is filled in: the port, the URL of Redis, the API keys.
"""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import leaks
from tests.compose import compose_file, seconds
from tests.servers import free_port

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
KEY = secrets.token_urlsafe(32)
READY_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 30.0

pytestmark = pytest.mark.skipif(SERVER is None, reason="no redis-server or valkey-server on this machine")


@dataclass(frozen=True)
class Deployment:
    url: str
    redis_url: str
    directory: Path

    def output(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(self.directory.glob("*.log")))


@contextmanager
def running(name: str, service: dict[str, Any], directory: Path, *more: str) -> Iterator[None]:
    """Run a service's command; its binaries are those of this environment, its variables only its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, leaks.RUN_VARIABLE: os.environ[leaks.RUN_VARIABLE], **service.get("environment", {})}
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*service["command"], *more], cwd=directory, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(seconds(service.get("stop_grace_period", "10s")))
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    port, redis_port = free_port(), free_port()
    deployment = Deployment(f"http://127.0.0.1:{port}", f"redis://127.0.0.1:{redis_port}/0", tmp_path)
    services = compose_file(
        {
            "MIDSTREAM_API_KEYS": f"{KEY}:acme",
            "MIDSTREAM_PORT": str(port),
            "MIDSTREAM_REDIS_URL": deployment.redis_url,
        }
    )["services"]
    # The image's server by the name that it has here; it serves one port of this machine instead of its own host.
    services["valkey"]["command"][0] = SERVER
    with ExitStack() as stack:
        stack.enter_context(running("valkey", services["valkey"], tmp_path, "--port", str(redis_port)))
        stack.enter_context(running("broker", services["broker"], tmp_path))
        stack.enter_context(running("worker-1", services["worker"], tmp_path))
        stack.enter_context(running("worker-2", services["worker"], tmp_path))
        yield deployment


def wait_until_ready(client: httpx2.Client, deployment: Deployment) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            if client.get("/readyz").status_code == httpx2.codes.OK:
                return
        except httpx2.TransportError:
            pass
        assert time.monotonic() < deadline, deployment.output()
        time.sleep(0.1)


def read_to_the_end(client: httpx2.Client, location: str, deployment: Deployment) -> str:
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    lines = []
    with client.stream("GET", f"{location}/events") as response:
        for line in response.iter_lines():  # heartbeats at least
            assert time.monotonic() < deadline, deployment.output()
            lines.append(line)
    return "\n".join(lines)


def test_a_stream_runs_from_start_to_end_through_the_services(deployment: Deployment) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx2.Client(base_url=deployment.url, timeout=ANSWER_TIMEOUT_S, headers=headers) as client:
        wait_until_ready(client, deployment)
        assert client.get("/v1/streams", headers={"Authorization": "Bearer wrong"}).status_code == 401

        body = {"model": "demo/count", "input": "count", "params": {"words": 20, "delay_ms": 1}, "ttl_s": 60}
        started = client.post("/v1/streams", json=body)
        assert started.status_code == 201, started.text

        events = read_to_the_end(client, started.headers["Location"], deployment)
        assert "event: end" in events, deployment.output()
        assert '"outcome":"completed"' in events

    # The end is seen a moment before the worker has taken the slip off the queue.
    deadline = time.monotonic() + leaks.GRACE_S
    while (left := leaks.key_leaks(deployment.redis_url)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
