"""Everything is started in a folder whose files have our names, or those of packages that we use: ours runs.

Operation/Ours.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.running_up import MIDSTREAM, Up
from tests.servers import free_port

NAMES = ("worker", "broker", "midstream", "midstream_worker", "redis", "arq", "fastapi", "click", "json", "asyncio")
"""Ours, today's and yesterday's; packages that we use; the standard library's."""
START_TIMEOUT_S = 30.0
AGENT = """
async def answer(messages, params):
    yield "the user's own answer"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: an app beside modules and packages that end the process that imports them."""
    folder = tmp_path / "home"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "agent.py").write_text(AGENT)
    for name in NAMES:
        trap = f"import os, pathlib\npathlib.Path({str(tmp_path / 'trapped')!r}).write_text({name!r})\nos._exit(0)\n"
        (folder / f"{name}.py").write_text(trap)
        for file in ("__init__.py", "__main__.py", "cli.py"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / file).write_text(trap)
    return folder


def test_up_runs_ours_and_finds_the_users_app(folder: Path, tmp_path: Path) -> None:
    apps = json.dumps({"answer": "shop.agent:answer"})
    up = Up(tmp_path / "data", folder=folder, MIDSTREAM_APPS=apps)
    try:
        done = up.run("start", "hello", "--model", "app/answer")
    finally:
        up.end(signal.SIGINT)
    assert (done.returncode, done.stdout.strip()) == (0, "the user's own answer"), done.stderr
    assert not (tmp_path / "trapped").exists(), (tmp_path / "trapped").read_text()


@pytest.mark.parametrize(
    ("words", "ready_words"),
    [
        (("worker",), "worker ready"),
        (("broker", "--port", "0"), "startup complete"),
        (("broker", "--port", "0", "--workers", "2"), "startup complete"),
    ],
    ids=["worker", "broker", "brokers"],
)
def test_a_process_of_its_own_is_ours(
    words: tuple[str, ...], ready_words: str, folder: Path, tmp_path: Path, redis_url: str
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            (*MIDSTREAM, *words),
            cwd=folder,
            env=os.environ | {"MIDSTREAM_REDIS_URL": redis_url},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while ready_words not in log.read_text():
            assert process.poll() is None, f"it ended: {log.read_text()}"
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
    finally:
        process.terminate()
        process.wait(20)
    assert not (tmp_path / "trapped").exists(), (tmp_path / "trapped").read_text()


def test_a_command_on_streams_is_ours(folder: Path, tmp_path: Path) -> None:
    words = (*MIDSTREAM, "ls", "--url", f"http://127.0.0.1:{free_port()}")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("error unreachable: ")
    assert not (tmp_path / "trapped").exists()
