"""The supervisor with real child processes. I8, I9."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from midstream.cli.supervisor import UNFIT, Command, StartError, Supervisor, supervise

UNFIT_AT_ONCE = "print('x=nosuch:thing cannot be used'); raise SystemExit(2)"
# Notes each start and each end in a file, and ends on SIGTERM, unless it is called stubborn.
STEADY = """
import os, signal, sys

def note(word):
    with open(sys.argv[1], "a") as file:
        file.write(f"{word} {sys.argv[2]} {os.getpid()}\\n")

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
note("start")
print("a word from", sys.argv[2], flush=True)
signal.sigwait([signal.SIGUSR1 if sys.argv[2] == "stubborn" else signal.SIGTERM])
note("end")
"""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Events:
    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def words(self, word: str) -> list[str]:
        return [name for output, name, _ in self.all() if output == word]

    def pids(self, name: str) -> list[int]:
        return [int(pid) for word, who, pid in self.all() if (word, who) == ("start", name)]

    async def until(self, word: str, name: str, times: int = 1) -> None:
        await until(lambda: self.words(word).count(name) >= times)

    def command(self, name: str, code: str = STEADY, stop_timeout_s: float = 5.0) -> Command:
        async def ready() -> None:
            await self.until("start", name)

        words = (sys.executable, "-IS", "-c", code, str(self.path), name)
        return Command(name, words, stop_timeout_s=stop_timeout_s, ready=ready)


@pytest.fixture
def events(tmp_path: Path) -> Events:
    return Events(tmp_path / "events")


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    supervisor.kill()
    await supervisor.stop()


async def test_the_last_group_started_is_the_first_to_be_stopped(supervisor: Supervisor, events: Events) -> None:
    await supervisor.start(events.command("valkey"))
    await supervisor.start(events.command("broker"))
    await supervisor.start(events.command("worker1"), events.command("worker2"))
    await supervisor.stop()
    assert events.words("start")[:2] == ["valkey", "broker"]
    assert set(events.words("end")[:2]) == {"worker1", "worker2"}
    assert events.words("end")[2:] == ["broker", "valkey"]


async def test_a_child_that_is_killed_comes_back(supervisor: Supervisor, events: Events) -> None:
    await supervisor.start(events.command("worker"))
    for times in (2, 3):
        os.kill(events.pids("worker")[-1], signal.SIGKILL)
        await events.until("start", "worker", times)
    assert len(set(events.pids("worker"))) == 3


async def test_a_child_that_rests_before_its_next_start_is_not_started_after_stop(
    supervisor: Supervisor, events: Events, capfd: pytest.CaptureFixture[str]
) -> None:
    await supervisor.start(events.command("worker"))
    os.kill(events.pids("worker")[0], signal.SIGKILL)
    await until(lambda: "started again in 0.2 s" in capfd.readouterr().err)
    await supervisor.stop()
    await asyncio.sleep(0.4)  # nothing tells that nothing happens
    assert len(events.pids("worker")) == 1


async def test_a_child_that_does_not_end_in_time_is_killed(supervisor: Supervisor, events: Events) -> None:
    await supervisor.start(events.command("stubborn", stop_timeout_s=0.2))
    async with asyncio.timeout(5):
        await supervisor.stop()
    assert not alive(events.pids("stubborn")[0])


async def test_kill_ends_all_at_once(supervisor: Supervisor, events: Events) -> None:
    await supervisor.start(events.command("one"), events.command("stubborn", stop_timeout_s=60.0))
    supervisor.kill()
    async with asyncio.timeout(5):
        await supervisor.stop()
    assert events.words("end") == []


async def test_a_child_that_ends_at_its_start_is_told(
    supervisor: Supervisor, events: Events, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StartError, match="broken ended at its start, exit status 7"):
        await supervisor.start(events.command("broken", code="print('why'); raise SystemExit(7)"))
    assert "broken   | why" in capfd.readouterr().err


async def test_a_child_that_cannot_start_ends_all(events: Events, capfd: pytest.CaptureFixture[str]) -> None:
    """Processes/Unfit."""
    supervisor = Supervisor("worker")
    unfit = Command("worker 2", (sys.executable, "-IS", "-c", UNFIT_AT_ONCE), stop_timeout_s=5.0)

    async def start() -> None:
        await supervisor.start(events.command("one"))
        await supervisor.start(unfit, unfit)

    async with asyncio.timeout(20):
        assert await supervise(supervisor, start) == UNFIT
    assert events.words("end") == ["one"]
    printed = capfd.readouterr().err.splitlines()
    assert "worker 2 | x=nosuch:thing cannot be used" in printed
    assert printed.count("worker   | worker 2 cannot start, exit status 2: stopping") == 1


async def test_a_child_that_is_unfit_before_it_is_ready_ends_all(capfd: pytest.CaptureFixture[str]) -> None:
    """Processes/Unfit."""
    supervisor = Supervisor()
    words = (sys.executable, "-IS", "-c", UNFIT_AT_ONCE)
    command = Command("broker", words, stop_timeout_s=5.0, ready=lambda: asyncio.sleep(60))
    assert await supervise(supervisor, lambda: supervisor.start(command)) == UNFIT
    assert "up       | broker ended at its start, exit status 2" in capfd.readouterr().err


@pytest.mark.parametrize("reloads", [False, True])
async def test_a_child_that_worked_before_is_started_again(
    supervisor: Supervisor, events: Events, tmp_path: Path, capfd: pytest.CaptureFixture[str], *, reloads: bool
) -> None:
    """Processes/Unfit, App/Reload."""
    unfit = tmp_path / "unfit"
    code = STEADY.replace("signal.sigwait", f"os.path.exists({str(unfit)!r}) and sys.exit(2)\nsignal.sigwait")
    await supervisor.start(replace(events.command("worker", code), reloads=reloads))
    unfit.touch()
    supervisor.restart(["worker"])
    if reloads:
        await until(lambda: "started again when the code has changed" in capfd.readouterr().err)
        unfit.unlink()
        supervisor.restart(["worker"])
    await events.until("start", "worker", 3)
    assert "stopping" not in capfd.readouterr().err


async def test_a_start_that_is_given_up_leaves_nothing(supervisor: Supervisor, events: Events) -> None:
    starting = asyncio.create_task(supervisor.start(events.command("slow", code=STEADY.replace('"start"', '"begin"'))))
    await events.until("begin", "slow")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not alive(int(events.all()[0][2]))


async def test_output_of_any_length_is_passed_on_under_the_childs_name(
    supervisor: Supervisor, events: Events, capfd: pytest.CaptureFixture[str]
) -> None:
    flood = STEADY.replace('note("start")', 'print("x" * 300_000, flush=True); note("start")')
    await supervisor.start(events.command("worker", code=flood))
    await supervisor.stop()
    output = capfd.readouterr().err.splitlines()
    assert sum(line.startswith("up       | waiting for worker to end, up to ") for line in output) == 1
    lines = [line for line in output if not line.startswith("up ")]
    assert all(line.startswith("worker   | ") for line in lines)
    assert "".join(line.removeprefix("worker   | ") for line in lines).count("x") == 300_000
    assert lines[-1] == "worker   | a word from worker"


async def test_a_json_line_of_a_child_stays_one(
    supervisor: Supervisor, events: Events, capfd: pytest.CaptureFixture[str]
) -> None:
    """Logs/Lines."""
    code = 'import json; print(json.dumps({"event": "why"})); raise SystemExit(7)'
    with pytest.raises(StartError):
        await supervisor.start(events.command("broker 1", code=code))
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "why" in line]
    assert json.loads(line) == {"process": "broker 1", "event": "why"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_children_die_with_a_supervisor_that_is_killed(events: Events) -> None:
    script = f"""
        import asyncio, pathlib
        from tests.contract.test_supervisor import Events, Supervisor
        async def main():
            events = Events(pathlib.Path({str(events.path)!r}))
            await Supervisor().start(events.command("one"), events.command("stubborn"))
            await asyncio.Event().wait()
        asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(script), stderr=subprocess.DEVNULL
    )
    await events.until("start", "one")
    await events.until("start", "stubborn")
    process.kill()
    await process.wait()
    await until(lambda: not any(map(alive, (*events.pids("one"), *events.pids("stubborn")))))
