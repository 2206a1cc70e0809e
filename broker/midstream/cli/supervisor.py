"""Keeps child processes running, and ends them in order."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from midstream.cli.terminal import echo
from midstream.embedded.dying_child import dying_with_this_process
from midstream.journal.plain_text import harmless_line

START_TIMEOUT_S: Final = 60.0
"""Longest wait for a child to get ready. Valkey reads its whole file in that time."""
FIRST_BACKOFF_S: Final = 0.2
MAX_BACKOFF_S: Final = 5.0
HEALTHY_S: Final = 10.0
"""After a child has run this long, its back-off starts at the shortest wait again."""
KILL_TIMEOUT_S: Final = 5.0
OUTPUT_TIMEOUT_S: Final = 1.0
READ_BYTES: Final = 65_536


class StartError(Exception):
    """A child ended, or did not get ready in time, while everything was being started."""


@dataclass(frozen=True)
class Command:
    """How to run one child.

    Attributes:
        name: Precedes each line of its output.
        words: The program and its arguments.
        stop_timeout_s: The time between SIGTERM and SIGKILL, in seconds.
        ending: What it does after it is told to stop; completes the message "waiting for NAME …".
        ready: Returns once the child does its work; None if the child counts as ready at once.
        environment: Variables in addition to those of this process.
        descriptors: Open files that it inherits.
        umask: The rights that the files which it makes have not; -1: those of this process' files.
    """

    name: str
    words: Sequence[str]
    stop_timeout_s: float
    ending: str = "to end"
    ready: Callable[[], Awaitable[None]] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: Sequence[int] = ()
    umask: int = -1


class Child:
    """One supervised process: started again, with back-off, whenever it ends by itself."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_wanted = True
        self._is_restarting = False

    async def start(self) -> None:
        """Start the process, wait until it is ready, and keep it running from then on.

        Raises:
            StartError: It ended instead, or was not ready in time.
        """
        process, output = await self._spawn()
        ended = asyncio.create_task(process.wait())
        ready = asyncio.ensure_future(self.command.ready() if self.command.ready else asyncio.sleep(0))
        try:
            await asyncio.wait((ended, ready), timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await _finish(output)
                raise StartError(f"{self.command.name} ended at its start, {_how(process.returncode)}")
            if not ready.done():
                raise StartError(f"{self.command.name} was not ready in {START_TIMEOUT_S:.0f} s")
            ready.result()
        except BaseException:
            await self._kill(process, output)
            raise
        finally:
            ended.cancel()
            ready.cancel()
        self._keeper = asyncio.create_task(self._keep(process, output))

    def announce_ending(self) -> None:
        """Print what this process waits for, and for how long, if the child still runs."""
        if self._process is not None and self._process.returncode is None:
            say(f"waiting for {self.command.name} {self.command.ending}, up to {self.command.stop_timeout_s:.0f} s")

    async def stop(self) -> None:
        """Ask the process to end. If it does not in time, kill it and its own children."""
        self._is_wanted = False
        if self._keeper is None:  # it never got ready, and `start` has killed it
            return
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        else:
            self._keeper.cancel()  # it waits between two starts
        _, late = await asyncio.wait((self._keeper,), timeout=self.command.stop_timeout_s)
        if late:
            say(f"{self.command.name} did not end in {self.command.stop_timeout_s:.0f} s: killed")
            self.kill()
            await asyncio.wait((self._keeper,), timeout=KILL_TIMEOUT_S)

    def restart(self) -> None:
        """Ask the process to end, and start it again at once."""
        if self._process is not None and self._process.returncode is None:
            self._is_restarting = True
            self._process.terminate()

    def kill(self) -> None:
        """Kill the process and its own children at once."""
        self._is_wanted = False
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _keep(self, process: asyncio.subprocess.Process, output: asyncio.Task[None]) -> None:
        now_s = asyncio.get_running_loop().time
        backoff_s = FIRST_BACKOFF_S
        while True:
            started_s = now_s()
            status = await process.wait()
            await _finish(output)
            if not self._is_wanted:
                return
            if self._is_restarting:
                self._is_restarting = False
                process, output = await self._spawn()
                continue
            backoff_s = FIRST_BACKOFF_S if now_s() - started_s >= HEALTHY_S else backoff_s
            say(f"{self.command.name} ended, {_how(status)}; started again in {backoff_s:.1f} s")
            await asyncio.sleep(backoff_s)
            backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)
            process, output = await self._spawn()

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, asyncio.Task[None]]:
        self._process = await asyncio.create_subprocess_exec(
            *dying_with_this_process(*self.command.words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | self.command.environment,
            start_new_session=True,  # so that Ctrl-C reaches this process only, which ends the children in order
            pass_fds=self.command.descriptors,
            umask=self.command.umask,
        )
        return self._process, asyncio.create_task(_forward(self.command.name, self._process))

    async def _kill(self, process: asyncio.subprocess.Process, output: asyncio.Task[None]) -> None:
        self.kill()
        await process.wait()
        await _finish(output)


class Supervisor:
    """Starts children in groups, and stops the groups in the opposite order."""

    def __init__(self) -> None:
        self._groups: list[list[Child]] = []

    async def start(self, *commands: Command) -> None:
        """Start a group of children side by side and return once all of them are ready.

        Raises:
            StartError: One did not get ready.
        """
        group = [Child(command) for command in commands]
        self._groups.append(group)
        await asyncio.gather(*(child.start() for child in group))

    async def stop(self) -> None:
        """End the children, one group after another."""
        while self._groups:
            for child in self._groups[-1]:
                child.announce_ending()
            await asyncio.gather(*(child.stop() for child in self._groups[-1]))
            self._groups.pop()

    def restart(self, names: Sequence[str]) -> None:
        """Start the children of these names again."""
        for group in self._groups:
            for child in group:
                if child.command.name in names:
                    child.restart()

    def kill(self) -> None:
        """Kill all children at once."""
        for group in self._groups:
            for child in group:
                child.kill()


async def supervise(supervisor: Supervisor, start: Callable[[], Awaitable[None]]) -> int:
    """Start children, wait for a signal, stop them; a second signal kills. Return the exit status."""
    stopping = asyncio.Event()
    starting = asyncio.ensure_future(start())

    def stop() -> None:
        if stopping.is_set():
            supervisor.kill()
        else:
            say("stopping; once more to stop at once")
        stopping.set()
        starting.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        with suppress(asyncio.CancelledError):
            await starting
        await stopping.wait()
    except StartError as error:
        say(str(error))
        return 1
    finally:
        await supervisor.stop()
    return 0


async def _forward(name: str, process: asyncio.subprocess.Process) -> None:
    """Print a child's output, each line with the child's name before it. Very long lines are divided."""
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    rest = b""
    while chunk := await process.stdout.read(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > READ_BYTES:
            lines, rest = [*lines, rest], b""
        for line in lines:
            say(line.decode(errors="replace"), name)
    if rest:
        say(rest.decode(errors="replace"), name)


async def _finish(output: asyncio.Task[None]) -> None:
    # A grandchild may hold the pipe open longer than the child lived.
    await asyncio.wait((output,), timeout=OUTPUT_TIMEOUT_S)
    output.cancel()
    await asyncio.wait((output,))


def say(line: str, name: str = "up") -> None:
    """Print a line with the name of the process that it comes from; a JSON line stays one."""
    harmless = harmless_line(line)
    is_json = harmless.startswith('{"')
    with suppress(OSError):  # a closed terminal is no reason to stop
        echo(f'{{"process": "{name}", {harmless[1:]}' if is_json else f"{name:<9}| {harmless}", err=True)


def _how(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"
