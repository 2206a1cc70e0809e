"""What a test has to take away again (I8 clean): keys without TTL, live streams, processes, sockets."""

import functools
import os
import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import redis as redis_sync

# Processes that end within this time of the test's end are on their way out, no leftovers.
GRACE_S = 1.0
RUN_VARIABLE = "TEST_RUN"

# Processes that live as long as the test run; what they fork counts as ours.
LASTING: set[int] = set()

IS_KERNELS = 0x0020_0000
"""The flag of a thread of the kernel in `/proc/<pid>/stat`."""

# Processes that no test has started, by id and by the inode of their folder, which another one of that id has not.
# To read at each test what every process is would take most of the time of a short one.
_FOREIGN: set[tuple[int, int]] = set()

_STREAM_KEY = re.compile(rb"^(?P<stream>.+:\{[^}]+\}):(state|log)$")
_OVER = (b"ended", b"deleted")


OF_PROCESSES = (b"ms:minute:", b"ms:memory", b"ms:roll:", b"ms:sign:")
"""What workers and brokers write of themselves, whatever is asked of them."""


async def keys_of_requests(redis: Any) -> list[bytes]:
    """Return the keys that what was asked for has left."""
    return [key for key in await redis.keys("ms:*") if not key.startswith(OF_PROCESSES)]


def key_leaks(url: str, *, live_allowed: bool = False, allowed: Iterable[str] = ()) -> list[str]:
    """Return a sentence for each key that would stay forever.

    Args:
        url: The server to look at.
        live_allowed: Streams that have not ended may stay, with the queue's and the reaper's notes on them.
        allowed: Patterns of keys that may stay, beside the installation's secret.
    """
    client: Any = redis_sync.Redis.from_url(url, socket_timeout=5.0)
    try:
        kept = [key for key in client.scan_iter(count=1_000) if client.ttl(key) == -1]
        problems = {key.decode(): _problem(client, key, live_allowed=live_allowed) for key in kept}
    finally:
        client.close()
    patterns = tuple(allowed)
    return sorted(
        f"{key}: {problem}"
        for key, problem in problems.items()
        if problem and not any(fnmatch(key, pattern) for pattern in patterns)
    )


def _problem(client: Any, key: bytes, *, live_allowed: bool) -> str | None:
    if match := _STREAM_KEY.match(key):
        status = client.hget(match["stream"] + b":state", "status")
        if status is None or status in _OVER:
            return f"no TTL, and its stream is {(status or b'gone').decode()}"
        return None if live_allowed else f"its stream was left {status.decode()}"
    if live_allowed and key.endswith((b":due", b":queue")):
        return None
    if key.endswith(b":secret"):  # the installation's, which is made once
        return None
    return "no TTL"


@dataclass(frozen=True)
class Belongings:
    """The processes and TCP sockets that belong to the test process at one moment."""

    processes: dict[int, str]
    sockets: dict[str, str]

    @classmethod
    def now(cls) -> "Belongings":
        return cls(_processes(), _sockets())

    def left_since(self, before: "Belongings") -> list[str]:
        """Return a sentence for each belonging that `before` did not have."""
        return [
            *(f"process {pid}: {name}" for pid, name in self.processes.items() if pid not in before.processes),
            *(f"socket: {name}" for inode, name in self.sockets.items() if inode not in before.sockets),
        ]


def leftovers(before: Belongings) -> list[str]:
    """Return what the test added and did not take away within `GRACE_S`."""
    deadline = time.monotonic() + GRACE_S
    while (left := Belongings.now().left_since(before)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _processes() -> dict[int, str]:
    """Return our children, those of `LASTING`, and orphaned descendants.

    Orphans still carry the run's tag in their environment. The children of those are not named: a browser that tests
    share starts and ends its own at any time.
    """
    ours, parents_of_ours, adopters = {}, {os.getpid(), *LASTING}, _ancestors()
    run_tag = f"{RUN_VARIABLE}={os.getpid()}".encode()
    with os.scandir("/proc") as entries:
        others = [
            (int(entry.name), entry.inode())
            for entry in entries
            if entry.name.isdecimal() and (int(entry.name), entry.inode()) not in _FOREIGN
        ]
    for pid, inode in others:
        if pid in parents_of_ours:
            continue
        directory = Path("/proc", str(pid))
        with suppress(OSError):  # it ended while we looked
            fields = (directory / "stat").read_bytes().rpartition(b")")[2].split()
            parent = int(fields[1])
            if int(fields[6]) & IS_KERNELS:
                _FOREIGN.add((pid, inode))
                continue
            environment = b"" if parent in parents_of_ours else (directory / "environ").read_bytes()
            if parent in parents_of_ours or (parent in adopters and run_tag in environment.split(b"\0")):
                command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                ours[pid] = command.strip() or "not waited for"
            elif environment and run_tag not in environment.split(b"\0"):  # it is empty while a program is loaded
                _FOREIGN.add((pid, inode))
    # The tracker lives as long as the interpreter.
    return {pid: command for pid, command in ours.items() if "multiprocessing.resource_tracker" not in command}


@functools.cache
def _ancestors() -> frozenset[int]:
    """Return our ancestors: one of them takes an orphan in."""
    ancestors, pid = [], os.getpid()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        ancestors.append(pid)
    return frozenset(ancestors)


def _sockets() -> dict[str, str]:
    """Return our TCP sockets by inode; an event loop's own pair is not TCP.

    The sockets are asked themselves: the system's tables hold thousands in TIME_WAIT after some hundred tests.
    """
    sockets = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor by which the folder is read is closed by now
            name = str(descriptor.readlink())
            if name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(descriptor.name))) as copy:
                    if copy.family in (socket.AF_INET, socket.AF_INET6):
                        sockets[name] = f"port {copy.getsockname()[1]} to {_peer_port(copy)}"
    return sockets


def _peer_port(connected: socket.socket) -> int:
    try:
        return int(connected.getpeername()[1])
    except OSError:  # it listens
        return 0
