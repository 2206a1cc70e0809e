"""`midstream up` as a process, with what people and tests ask of it."""

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import fork_server

MIDSTREAM = (str(Path(sys.executable).with_name("midstream")),)
"""As people run it; `python -m` would put the current folder first among those that modules are looked for in."""
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
KINDS = {"valkey": "valkey-server", "worker": "-m\0midstream_worker", "broker": "--fd"}


class Up:
    """A running `midstream up`."""

    def __init__(
        self,
        data_dir: Path,
        local_model: bool = False,
        folder: Path | None = None,
        program: tuple[str, ...] = (*MIDSTREAM, "up"),
        **environment: str,
    ) -> None:
        self.data_dir = data_dir
        self.environment = os.environ | {"MIDSTREAM_DEMO_DELAY_MS": "1"} | environment
        self.log = data_dir.with_suffix(".log")
        flags = () if local_model else ("--no-local-model",)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                (*program, "--port", "0", "--data-dir", str(data_dir), *flags),
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                cwd=folder,
            )
        self.greeting = self._greeting()
        match = re.search(r"open (\S+)", self.greeting)
        assert match, f"{self.greeting}\n{self.log.read_text()}"
        self.url = match.group(1)

    def _greeting(self) -> str:
        assert self.process.stdout
        greeting, deadline = b"", time.monotonic() + START_TIMEOUT_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"Ctrl-C" not in greeting and selector.select(deadline - time.monotonic()):
                chunk = os.read(self.process.stdout.fileno(), 4_096)
                if not chunk:
                    break
                greeting += chunk
        return greeting.decode()

    def children(self) -> dict[str, int]:
        """Return the pid of each child by its kind."""
        pids: dict[str, int] = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_text()
            pids |= {kind: int(pid) for kind, word in KINDS.items() if word in command and "launch.py" not in command}
        return pids

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the command line against it, in a process that has imported it already."""
        return fork_server.shared().run(["midstream", *words, "--url", self.url], timeout_s=40)

    def json(self, *words: str) -> Any:
        """Run a command and return its JSON."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def end(self, how: signal.Signals, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(how)
        try:
            return self.process.wait(timeout_s)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout
            self.process.stdout.close()


def until(holds: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def gone(pids: dict[str, int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
