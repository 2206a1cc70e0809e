"""Starts workers and brokers by forking a process that has imported everything: in milliseconds, not seconds.

Each is a process of its own that runs what `python -m midstream_worker` and `midstream broker` run. Lines of JSON
come in on stdin, `{"log", "environment", "arguments"}`; `pid <pid>` and `exit <pid> <code>` go out. The end of stdin
kills all.
"""

import asyncio
import importlib
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any, Self

IMPORTS = (
    "midstream_worker.process",
    "midstream_worker.sources.openai_chat",
    "midstream_worker.sources.openai_responses",
    "midstream_worker.sources.anthropic",
)
ROOT = Path(__file__).parents[2]


class Zygote:
    """The forking process, as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._pids: asyncio.Queue[int] = asyncio.Queue()
        self._asking = asyncio.Lock()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, preload: dict[str, str]) -> Self:
        """Start it, with further environment, and return once it has imported everything."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.zygote"), stdin=pipe, stdout=pipe, cwd=ROOT, env=os.environ | preload
        )
        assert process.stdout
        if not await process.stdout.readline():
            raise RuntimeError("the zygote did not start")
        return cls(process)

    async def fork(self, log: Path, environment: dict[str, str], arguments: list[str]) -> int:
        """Start a process and return its id; `worker` or `broker` is the first argument."""
        assert self._process.stdin
        async with self._asking:
            wish = {"log": str(log), "environment": environment, "arguments": arguments}
            self._process.stdin.write(json.dumps(wish).encode() + b"\n")
            return await self._pids.get()

    def exit_of(self, pid: int) -> "asyncio.Future[int]":
        """Return a future of a process' exit code; negative is a signal."""
        return self._exits.setdefault(pid, asyncio.get_running_loop().create_future())

    async def close(self) -> None:
        """Kill it and all that it has forked."""
        assert self._process.stdin
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            kind, pid, *code = line.split()
            if kind == b"pid":
                self._pids.put_nowait(int(pid))
            else:
                future = self.exit_of(int(pid))
                if not future.done():
                    future.set_result(int(code[0]))


def _serve() -> None:
    sys.path.insert(0, str(ROOT))
    for name in (*IMPORTS, "midstream_worker.__main__", "midstream.cli.main"):
        importlib.import_module(name)
    children: set[int] = set()
    told, tells = os.pipe()
    os.set_blocking(tells, False)
    signal.set_wakeup_fd(tells)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # its coming is all that is wanted: it wakes `select`
    _say("ready")
    wishes = b""
    while True:
        ready, _, _ = select.select((0, told), (), ())
        if told in ready:
            os.read(told, 4_096)
        if 0 in ready:
            data = os.read(0, 65_536)
            if not data:
                break
            *lines, wishes = (wishes + data).split(b"\n")
            for line in lines:
                _fork(json.loads(line), children)
        _reap(children)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _fork(wish: dict[str, Any], children: set[int]) -> None:
    pid = os.fork()
    if not pid:
        _become(wish)
    children.add(pid)
    _say(f"pid {pid}")


def _reap(children: set[int]) -> None:
    for pid in tuple(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            children.discard(pid)
            _say(f"exit {pid} {os.waitstatus_to_exitcode(status)}")


def _say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def _become(wish: dict[str, Any]) -> None:
    """Run a worker or a broker in this, the forked, process; never returns."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for new, old in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(new, old)
    os.environ.clear()
    os.environ.update(wish["environment"])
    what, *arguments = wish["arguments"]
    sys.argv = [what, *arguments]
    code: Any = 1
    try:
        if what == "worker":
            code = importlib.import_module("midstream_worker.__main__").main()
        else:
            code = importlib.import_module("midstream.cli.main").main([what, *arguments])
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    _serve()
