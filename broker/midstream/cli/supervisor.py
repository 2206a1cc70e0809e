"""Keeps child processes running, and ends them in order."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from midstream.cli.child_output import finish_output, print_output, say
from midstream.embedded.dying_child import dying_with_this_process

START_TIMEOUT_S: Final = 60.0
"""Longest wait for a child to get ready. Valkey reads its whole file in that time."""
FIRST_BACKOFF_S: Final = 0.2
MAX_BACKOFF_S: Final = 5.0
HEALTHY_S: Final = 10.0
"""After a child has run this long, its back-off starts at the shortest wait again."""
KILL_TIMEOUT_S: Final = 5.0
UNFIT: Final = 2
"""Exit status of a process that cannot start with its settings, so that another start would end the same way."""


class StartError(Exception):
    """A child ended, or did not get ready in time, while everything was being started.

    Attributes:
        status: The exit status for the supervisor.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


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
        reloads: It is started again when the user's code has changed, so one that cannot start waits for that.
    """

    name: str
    words: Sequence[str]
    stop_timeout_s: float
    ending: str = "to end"
    ready: Callable[[], Awaitable[None]] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: Sequence[int] = ()
    umask: int = -1
    reloads: bool = False


class Child:
    """One supervised process: started again, with back-off, whenever it ends by itself.

    Args:
        command: How to run it.
        supervisor: The name before the lines about it.
        on_unfit: Called when it cannot start with its settings; it is not started again.
    """

    def __init__(self, command: Command, supervisor: str, on_unfit: Callable[[str], None]) -> None:
        self.command = command
        self._supervisor = supervisor
        self._on_unfit = on_unfit
        self._changed = asyncio.Event()
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
                await finish_output(output)
                reason = f"{self.command.name} ended at its start, {_how(process.returncode)}"
                raise StartError(reason, UNFIT if process.returncode == UNFIT else 1)
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
            self._say(
                f"waiting for {self.command.name} {self.command.ending}, up to {self.command.stop_timeout_s:.0f} s"
            )

    async def stop(self) -> None:
        """Ask the process to end. If it does not in time, kill it and its own children."""
        self._is_wanted = False
        if self._keeper is None:  # it never got ready, and `start` has killed it
            return
        if self._process is not None and self._process.returncode is None:
            self._signal(os.kill, signal.SIGTERM)
        else:
            self._keeper.cancel()  # it waits between two starts
        _, late = await asyncio.wait((self._keeper,), timeout=self.command.stop_timeout_s)
        if late:
            self._say(f"{self.command.name} did not end in {self.command.stop_timeout_s:.0f} s: killed")
            self.kill()
            await asyncio.wait((self._keeper,), timeout=KILL_TIMEOUT_S)

    def restart(self) -> None:
        """Ask the process to end, and start it again at once."""
        if self._process is not None and self._process.returncode is None:
            self._is_restarting = True
            self._signal(os.kill, signal.SIGTERM)
        else:
            self._changed.set()

    def kill(self) -> None:
        """Kill the process and its own children at once."""
        self._is_wanted = False
        if self._process is not None and self._process.returncode is None:
            self._signal(os.killpg, signal.SIGKILL)

    def _signal(self, send: Callable[[int, int], None], number: signal.Signals) -> None:
        """Send a signal. The process' own methods would reap a child that has just ended, and lose its status."""
        assert self._process is not None  # noqa: S101
        with suppress(ProcessLookupError):
            send(self._process.pid, number)

    async def _keep(self, process: asyncio.subprocess.Process, output: asyncio.Task[None]) -> None:
        name, now_s = self.command.name, asyncio.get_running_loop().time
        backoff_s = FIRST_BACKOFF_S
        was_ready = self.command.ready is not None
        while True:
            started_s = now_s()
            status = await process.wait()
            await finish_output(output)
            if not self._is_wanted:
                return
            if self._is_restarting:
                self._is_restarting = False
            elif status == UNFIT and self.command.reloads:
                self._say(f"{name} cannot start, {_how(status)}; started again when the code has changed")
                await self._changed.wait()
            elif status == UNFIT and not was_ready:
                self._on_unfit(name)
                return
            else:
                backoff_s = FIRST_BACKOFF_S if now_s() - started_s >= HEALTHY_S else backoff_s
                self._say(f"{name} ended, {_how(status)}; started again in {backoff_s:.1f} s")
                await asyncio.sleep(backoff_s)
                backoff_s = min(MAX_BACKOFF_S, backoff_s * 2)
            was_ready = True  # or it may have been: from now on the others do not end with it
            process, output = await self._spawn()

    def _say(self, line: str) -> None:
        say(line, self._supervisor)

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, asyncio.Task[None]]:
        self._changed.clear()
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
        return self._process, asyncio.create_task(print_output(self.command.name, self._process))

    async def _kill(self, process: asyncio.subprocess.Process, output: asyncio.Task[None]) -> None:
        self.kill()
        await process.wait()
        await finish_output(output)


class Supervisor:
    """Starts children in groups, and stops the groups in the opposite order.

    Args:
        name: Precedes the lines about the children.

    Attributes:
        on_unfit: Called with the name of a child that cannot start with its settings.
    """

    def __init__(self, name: str = "up") -> None:
        self.name = name
        self.on_unfit: Callable[[str], None] = lambda _: None
        self._groups: list[list[Child]] = []

    async def start(self, *commands: Command) -> None:
        """Start a group of children side by side and return once all of them are ready.

        Raises:
            StartError: One did not get ready.
        """
        group = [Child(command, self.name, self.on_unfit) for command in commands]
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
    """Start children, wait for a signal, stop them; a second signal kills. Return the exit status.

    A child that cannot start with its settings ends all (PROTOCOL: Processes/Unfit).
    """
    status = 0
    stopping = asyncio.Event()
    starting = asyncio.ensure_future(start())

    def end() -> None:
        stopping.set()
        starting.cancel()

    def stop() -> None:
        if stopping.is_set():
            supervisor.kill()
        else:
            say("stopping; once more to stop at once", supervisor.name)
        end()

    def give_up(name: str) -> None:
        nonlocal status
        if not stopping.is_set():
            status = UNFIT
            say(f"{name} cannot start, {_how(UNFIT)}: stopping", supervisor.name)
        end()

    supervisor.on_unfit = give_up
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        with suppress(asyncio.CancelledError):
            await starting
        await stopping.wait()
    except StartError as error:
        say(str(error), supervisor.name)
        return error.status
    finally:
        await supervisor.stop()
    return status


def _how(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"
