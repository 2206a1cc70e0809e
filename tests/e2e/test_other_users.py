"""PROTOCOL: Operation/Own files: another user of the machine reads nothing of what `midstream up` keeps."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
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


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own ones are their owner's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run((*NOBODY, *words), capture_output=True, text=True, check=False, timeout=20)


def keys_by(socket_path: Path, *before: str) -> str:
    """Return what the server tells somebody who asks for its keys by its socket."""
    words = (*before, "redis-cli", "-s", str(socket_path), "KEYS", "*")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout + done.stderr


def test_another_user_reads_no_file_and_reaches_no_socket(folder: Path) -> None:
    """Operation/Own files."""
    data_dir = folder / "data"
    running = Up(data_dir)
    try:
        assert running.run("start", SECRET, "--model", "demo/story").returncode == 0
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
    finally:
        running.end(signal.SIGINT)


def test_no_port_leads_to_the_server_unless_one_is_asked_for(folder: Path) -> None:
    """Operation/Own files."""
    running = Up(folder / "closed")
    listening = _ports(running.children()["valkey"])
    running.end(signal.SIGINT)
    port = free_port()
    opened = Up(folder / "opened", program=(*MIDSTREAM, "up", "--redis-port", str(port)))
    listening_opened = _ports(opened.children()["valkey"])
    opened.end(signal.SIGINT)
    assert (listening, listening_opened) == (set(), {port})


def test_a_folder_with_a_long_path_will_do(folder: Path) -> None:
    data_dir = folder.joinpath(*["deep" * 8] * 4)
    data_dir.parent.mkdir(parents=True)
    running = Up(data_dir, folder=folder)
    done = running.run("start", "x", "--model", "demo/story")
    status = running.end(signal.SIGINT)
    assert (done.returncode, status) == (0, 0), done.stderr


def test_a_full_server_refuses_a_start_and_keeps_what_it_has(folder: Path) -> None:
    """Operation/Own files."""
    running = Up(folder / "data", program=(*MIDSTREAM, "up", "--maxmemory", "8mb"))
    try:
        first = running.run("start", "x", "--model", "demo/story")
        body = {"model": "demo/count", "params": {"words": 1}, "input": "x" * 1_000_000}
        answers = [httpx2.post(f"{running.url}/v1/streams", json=body) for _ in range(10)]
        # Not each one after the first refusal: what the server frees between two requests may be enough for one.
        refused = [answer.json()["code"] for answer in answers if answer.status_code == 503]
        assert answers[0].status_code == 201
        assert set(refused) == {"log_full"}
        assert running.run("tail", first.stderr.split()[1]).stdout == first.stdout
    finally:
        running.end(signal.SIGINT)


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
