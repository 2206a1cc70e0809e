"""PROTOCOL: Operation/Own files: another user of the machine reads nothing of what `midstream up` keeps."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.e2e.running_up import MIDSTREAM, Up
from tests.servers import free_port

SECRET = "swordfish"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("redis-cli"),
    reason="only root can act as another user, by setpriv, and redis-cli is needed",
)


@contextmanager
def _running(data_dir: str, *options: str) -> Iterator[Up]:
    """Run it with its data in a folder that everybody may enter; pytest's own ones are their owner's alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / data_dir).parent.mkdir(parents=True, exist_ok=True)
        running = Up(folder / data_dir, folder=folder, program=(*MIDSTREAM, "up", *options))
        try:
            yield running
        finally:
            status = running.end(signal.SIGINT)
        assert status == 0


@pytest.fixture(scope="module")
def closed() -> Iterator[Up]:
    """One without options."""
    with _running("data") as running:
        yield running


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Up, int]]:
    """One whose server listens on a port, too, with data in a folder whose path is too long for a socket's."""
    port = free_port()
    with _running("/".join(["deep" * 8] * 4), "--redis-port", str(port)) as running:
        yield running, port


def as_nobody(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run((*NOBODY, *words), capture_output=True, text=True, check=False, timeout=20)


def keys_by(socket_path: Path, *before: str) -> str:
    """Return what the server tells somebody who asks for its keys by its socket."""
    words = (*before, "redis-cli", "-s", str(socket_path), "KEYS", "*")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout + done.stderr


def test_another_user_reads_no_file_and_reaches_no_socket(closed: Up) -> None:
    """Operation/Own files."""
    data_dir = closed.data_dir
    assert closed.run("start", SECRET, "--model", "demo/story").returncode == 0
    assert as_nobody("ls", str(data_dir)).returncode != 0
    data_dir.chmod(0o755)  # as a folder that was there before may be
    paths = [path for path in sorted(data_dir.rglob("*")) if not path.is_dir()]
    holding = [path for path in paths if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert holding, "the log is in a file"
    assert any(path.is_socket() for path in paths)
    read = {str(path.relative_to(data_dir)) for path in paths if as_nobody("cat", str(path)).returncode == 0}
    assert read == set()
    private = {path.name: oct(path.stat().st_mode & 0o077) for path in paths}
    assert private == dict.fromkeys(private, "0o0"), "though their folder be opened"
    (socket_path,) = (path for path in paths if path.is_socket())
    assert ":state" in keys_by(socket_path)
    socket_path.parent.chmod(0o755)
    assert "Permission denied" in keys_by(socket_path, *NOBODY)


def test_no_port_leads_to_the_server_unless_one_is_asked_for(closed: Up, opened: tuple[Up, int]) -> None:
    """Operation/Own files."""
    running, port = opened
    assert _ports(closed.children()["valkey"]) == set()
    assert _ports(running.children()["valkey"]) == {port}


def test_a_folder_with_a_long_path_will_do(opened: tuple[Up, int]) -> None:
    done = opened[0].run("start", "x", "--model", "demo/story")
    assert done.returncode == 0, done.stderr


def test_a_full_server_refuses_a_start_and_keeps_what_it_has() -> None:
    """Operation/Own files."""
    with _running("data", "--maxmemory", "8mb") as running:
        first = running.run("start", "x", "--model", "demo/story")
        body = {"model": "demo/count", "params": {"words": 1}, "input": "x" * 1_000_000}
        answers = [httpx2.post(f"{running.url}/v1/streams", json=body) for _ in range(10)]
        # Not each one after the first refusal: what the server frees between two requests may be enough for one.
        refused = [answer.json()["code"] for answer in answers if answer.status_code == 503]
        assert answers[0].status_code == 201
        assert set(refused) == {"log_full"}
        assert running.run("tail", first.stderr.split()[1]).stdout == first.stdout


def _ports(pid: int) -> set[int]:
    """Return the TCP ports that a process listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in inodes:
                ports.add(int(columns[1].rpartition(":")[2], 16))
    return ports
