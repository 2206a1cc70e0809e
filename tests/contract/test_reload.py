"""`midstream up --reload`: the user's code is read again (PROTOCOL: App/Reload)."""

import asyncio
import sys
from pathlib import Path

from midstream.cli.reloading import reload_always
from midstream.cli.supervisor import Command, Supervisor

CHILD = """
import signal, sys
sys.path.append(sys.argv[1])
import own
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with open(sys.argv[2], "a") as file:
    file.write(own.WORD + " ")
signal.sigwait([signal.SIGTERM])
"""


async def test_a_change_starts_the_named_children_again(tmp_path: Path) -> None:
    """App/Reload."""
    code, notes = tmp_path / "code", tmp_path / "notes"
    code.mkdir()
    (code / "own.py").write_text("WORD = 'first'")

    def command(name: str) -> Command:
        words = (sys.executable, "-B", "-c", CHILD, str(code), str(tmp_path / f"{notes.name}-{name}"))
        return Command(name, words, stop_timeout_s=5.0)

    def words_of(name: str) -> list[str]:
        path = tmp_path / f"{notes.name}-{name}"
        return path.read_text().split() if path.exists() else []

    async def until(name: str, words: list[str]) -> None:
        async with asyncio.timeout(20):
            while words_of(name) != words:
                await asyncio.sleep(0.02)

    supervisor = Supervisor()
    await supervisor.start(command("broker"), command("worker"))
    reloading = asyncio.create_task(reload_always(supervisor, ["worker"], code))
    try:
        await until("worker", ["first"])
        await until("broker", ["first"])
        for _ in range(200):  # the watch may not have begun yet
            (code / "own.py").write_text("WORD = 'second'  # it has another length")
            await asyncio.sleep(0.2)
            if words_of("worker")[-1] == "second":
                break
    finally:
        reloading.cancel()
        await asyncio.gather(reloading, return_exceptions=True)
        await supervisor.stop()
    assert words_of("worker")[:2] == ["first", "second"]
    assert words_of("broker") == ["first"]
