"""Real processes on loopback for one run of a benchmark, and what they used."""

import http.client
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from midstream.log.cluster_keys import ClusterKeys
from scripts.benchmarks import nchan
from tests.servers import ClusterProcesses, ValkeyProcess, free_port

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "bench-key"
TENANT: Final = "bench"
READY_S: Final = 20.0
STOP_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens."""

    pid: int
    port: int


class Rig:
    """Starts processes; everything that was started ends with the `with` block.

    Args:
        server: Further settings of the server.

    Attributes:
        on_cluster: Our log is on a cluster of three nodes; the queue, and what others use, is on a server beside it.
        before: A checkout of an earlier version, for benchmarks of a deploy; it must do with our packages.
    """

    on_cluster = False
    before: Path | None = None

    def __init__(self, server: Mapping[str, str] | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="midstream-bench-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._valkey = ValkeyProcess(self._folder, {"appendfsync": "everysec"} | dict(server or {}))
        self._cluster = ClusterProcesses(self._folder) if self.on_cluster else None

    def __enter__(self) -> Self:
        self._valkey.start()
        if self._cluster is not None:
            self._cluster.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
            if process.stdout is not None:
                process.stdout.close()
        self._valkey.kill()
        if self._cluster is not None:
            self._cluster.kill()
        if kind is not None:
            for log in sorted(self._folder.glob("*.log")):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-2000:]}\n")
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def redis_url(self) -> str:
        """The server's URL."""
        return self._valkey.url

    @property
    def log_url(self) -> str:
        """The URL of our log."""
        return self._cluster.url if self._cluster else self._valkey.url

    @property
    def redis_pid(self) -> int:
        """The process of the server, or of the node that holds our streams."""
        if self._cluster is not None:
            return self._cluster.owner(ClusterKeys("ms").near(f"{TENANT}/").due).pid
        return self._valkey.pid

    def front(self, checkout: Path = ROOT, /, **settings: object) -> Server:
        """Start our broker, with API keys on, of this checkout or of another one."""
        port = free_port()
        return self._serve(
            f"broker{len(self._processes)}",
            ["midstream.cli", "broker", "--port", str(port)],
            port,
            self._settings(settings) | _path_of(checkout),
        )

    def worker(self, checkout: Path = ROOT, /, **settings: object) -> int:
        """Start our worker and return its process id once it takes jobs."""
        name = f"worker{len(self._processes)}"
        process = self.spawn(name, ["midstream_worker"], self._settings(settings) | _path_of(checkout))
        log = self._folder / f"{name}.log"
        deadline = time.monotonic() + READY_S
        while "worker ready" not in log.read_text():
            _still_starting(process, "worker", deadline)
        return process.pid

    def ended(self, pid: int, timeout_s: float) -> int:
        """Wait until a process that was told to stop has ended, and return its status."""
        (process,) = (each for each in self._processes if each.pid == pid)
        return process.wait(timeout_s)

    def obvious(self, app: str, **environment: object) -> Server:
        """Start one of `obvious.py`'s apps under uvicorn, set up as our broker is: uvloop and httptools."""
        port = free_port()
        arguments = ["uvicorn", f"scripts.benchmarks.obvious:{app}", "--port", str(port)]
        arguments += ["--no-access-log", "--log-level", "warning"]
        words = {name: str(value) for name, value in environment.items()}
        return self._serve(app, arguments, port, {"REDIS_URL": self.redis_url, "API_KEY": KEY, **words})

    def nchan(self) -> Server:
        """Start nginx with the nchan module."""
        port = free_port()
        return self._await("nchan", self._start("nchan", nchan.command(self._folder, port, KEY), {}), port)

    def provider(self) -> str:
        """Start the provider that does as its prompt says, and return its URL."""
        port = free_port()
        app = [
            "midstream.testing.provider.server:create_app",
            "--factory",
            "--http",
            "midstream.testing.provider.event_stream:BreakableProtocol",
        ]
        arguments = ["uvicorn", *app, "--port", str(port), "--no-access-log", "--log-level", "warning"]
        self._serve("provider", arguments, port, {}, "/calls")
        return f"http://127.0.0.1:{port}"

    def spawn(
        self, name: str, arguments: list[str], environment: Mapping[str, str], *, piped: bool = False
    ) -> "subprocess.Popen[bytes]":
        """Start `python -m` with these arguments; `piped` gives its stdin and stdout to the caller."""
        return self._start(name, [sys.executable, "-m", *arguments], environment, piped=piped)

    def _start(
        self, name: str, command: list[str], environment: Mapping[str, str], *, piped: bool = False
    ) -> "subprocess.Popen[bytes]":
        log = (self._folder / f"{name}.log").open("wb")
        pipe = subprocess.PIPE if piped else None
        with log:
            process = subprocess.Popen(
                command,
                stdin=pipe,
                stdout=pipe or log,
                stderr=log,
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
            )
        self._processes.append(process)
        return process

    def _serve(
        self, name: str, arguments: list[str], port: int, environment: Mapping[str, str], path: str = "/readyz"
    ) -> Server:
        return self._await(name, self.spawn(name, arguments, environment), port, path)

    def _await(self, name: str, process: "subprocess.Popen[bytes]", port: int, path: str = "/readyz") -> Server:
        deadline = time.monotonic() + READY_S
        while not _answers(port, path):
            _still_starting(process, name, deadline)
        return Server(process.pid, port)

    def _settings(self, settings: Mapping[str, object]) -> dict[str, str]:
        return {
            **({"MIDSTREAM_QUEUE_REDIS_URL": self.redis_url} if self._cluster else {}),
            "MIDSTREAM_REDIS_URL": self.log_url,
            "MIDSTREAM_API_KEYS": f"{KEY}:{TENANT}",
            **{f"MIDSTREAM_{name.upper()}": str(value) for name, value in settings.items()},
        }


def _path_of(checkout: Path) -> dict[str, str]:
    """Return what has a process import this checkout's packages instead of those that are installed."""
    return {"PYTHONPATH": os.pathsep.join(str(checkout / part) for part in ("", "broker", "worker"))}


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def _still_starting(process: "subprocess.Popen[bytes]", name: str, deadline: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        raise RuntimeError(f"{name} did not start")
    time.sleep(0.02)


def cpu_s(pid: int) -> float:
    """Return the CPU time that the threads of a process have used, to the ns; /proc/PID/stat knows it to 10 ms."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def waited_s(pid: int) -> float:
    """Return how long a process' main thread was ready to run while no core was free: the machine was too small."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def rss_kib(pid: int) -> float:
    """Return the memory that a process holds: its own pages, and its part of the shared ones."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise RuntimeError(f"process {pid} has no memory")


def raise_file_limit() -> None:
    """Allow this process and its children as many connections as the machine does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def machine() -> str:
    """Return what the figures depend on, and no more: cores, CPU, kernel, Python."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    release = os.uname().release.partition("-")[0]
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{os.cpu_count()} cores, {models[0] if models else os.uname().machine}, Linux {release}, Python {python}"
