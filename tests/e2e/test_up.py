"""`midstream up` and the command line as people use them: real processes, real signals. I2, I3, I8."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from midstream.cli.up import model_installed
from tests.e2e.running_up import KINDS, MIDSTREAM, Up, gone, until


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for all tests that leave it running."""
    running = Up(tmp_path_factory.mktemp("up") / "data")
    yield running
    running.end(signal.SIGINT)


def test_a_prompt_is_answered_and_listed(up: Up) -> None:
    done = up.run("start", "Tell me a story.", "--model", "demo/story", "--thread", "t1")
    assert done.returncode == 0, done.stderr
    stream_id = done.stderr.split()[1]
    entries = [json.loads(line) for line in up.run("log", stream_id, "--json").stdout.splitlines()]
    assert [entry["offset"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[-1]["data"]["outcome"] == "completed"
    text = "".join(entry["data"]["text"] for entry in entries if entry["type"] == "text")
    assert done.stdout.rstrip("\n") == text.rstrip("\n") != ""
    assert [row["id"] for row in up.json("ls", "--thread", "t1")["data"]] == [stream_id]
    assert up.json("show", stream_id)["outcome"] == "completed"
    followed = [json.loads(line) for line in up.run("tail", stream_id, "--json", "--after", "2").stdout.splitlines()]
    assert followed == entries[2:]


def test_a_stream_after_many_others_is_listed(up: Up) -> None:
    started = set()
    for thread in ("oldest", *["later"] * 12):  # the broker looks through ten pages of the newest in one go
        body = {"input": "Tell me a story.", "model": "demo/story", "thread": thread}
        started.add(httpx2.post(f"{up.url}/v1/streams", json=body).json()["id"])
    assert len(started) == 13
    assert len(up.json("ls", "--thread", "oldest", "--limit", "1")["data"]) == 1
    assert started <= {row["id"] for row in up.json("ls", "--limit", "1", "--all")["data"]}


def test_ctrl_c_leaves_no_process_and_the_next_start_has_the_finished_answer(data_dir: Path) -> None:
    first = Up(data_dir)
    printed = first.run("start", "Tell me a story.", "--model", "demo/story")
    children = first.children()
    assert set(children) == set(KINDS)
    assert first.end(signal.SIGINT) == 0
    assert gone(children)
    second = Up(data_dir)
    again = second.run("tail", printed.stderr.split()[1])
    assert second.end(signal.SIGTERM) == 0
    assert (again.returncode, again.stdout) == (0, printed.stdout)


def test_a_second_ctrl_c_does_not_wait(data_dir: Path) -> None:
    slow = Up(data_dir, MIDSTREAM_DEMO_DELAY_MS="2000", MIDSTREAM_DRAIN_S="60")
    stream_id = slow.run("start", "Tell me a story.", "--model", "demo/story", "--detach").stdout.strip()
    until(lambda: slow.json("show", stream_id)["status"] == "running")
    children = slow.children()
    slow.process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in slow.log.read_text())
    until(lambda: "waiting for worker to finish what it generates, up to 66 s" in slow.log.read_text())
    slow.end(signal.SIGINT, timeout_s=5)
    assert gone(children)


def test_an_app_that_cannot_be_imported_is_told_at_the_start(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("print('noise')\nraise ValueError('no such index')\n")
    (tmp_path / "fine.py").write_text("print('noise')\nasync def answer(messages, params): yield 'hi'\n")
    apps = {
        "away": "shop.agent:answer",
        "broken": "broken:answer",
        "empty": "fine:other",
        "fine": "fine:answer",
    }
    up = Up(data_dir, folder=tmp_path, MIDSTREAM_APPS=json.dumps(apps))
    up.end(signal.SIGINT)
    assert "Unknown child process" not in up.log.read_text()
    printed = up.greeting
    assert (
        "app/away, which cannot be imported: shop.agent:answer: ModuleNotFoundError: No module named 'shop'" in printed
    )
    assert f"(looked in {tmp_path})" in printed
    assert "app/broken, which cannot be imported: broken:answer: ValueError: no such index" in printed
    assert "app/empty, which cannot be imported: fine:other: AttributeError" in printed
    assert "  app    app/fine, fine:answer\n" in up.greeting


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_child_that_is_killed_comes_back_and_streams_go_on(up: Up, kind: str) -> None:
    before = up.children()
    printed = up.run("start", "Tell me a story.", "--model", "demo/story")
    os.kill(before[kind], signal.SIGKILL)
    until(lambda: up.children().get(kind, before[kind]) != before[kind])
    again = up.run("tail", printed.stderr.split()[1])
    assert (again.returncode, again.stdout) == (0, printed.stdout)
    assert up.run("start", "And another one.", "--model", "demo/story").returncode == 0
    assert {name: pid for name, pid in up.children().items() if name != kind} == {
        name: pid for name, pid in before.items() if name != kind
    }


def test_a_tail_goes_on_through_a_broker_that_was_killed(up: Up) -> None:
    paced = ("--model", "demo/count", "--param", "words=150", "--param", "delay_ms=30")
    stream_id = up.run("start", "Count.", *paced, "--detach").stdout.strip()
    with subprocess.Popen(
        (*MIDSTREAM, "tail", stream_id, "--json", "--url", up.url), stdout=subprocess.PIPE, text=True
    ) as tail:
        assert tail.stdout
        seen = [tail.stdout.readline() for _ in range(5)]
        os.kill(up.children()["broker"], signal.SIGKILL)
        seen += tail.stdout.readlines()
        assert tail.wait() == 0
    assert seen == up.run("log", stream_id, "--json").stdout.splitlines(keepends=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_supervisor_that_is_killed_leaves_no_child_and_no_lock(data_dir: Path) -> None:
    killed = Up(data_dir)
    printed = killed.run("start", "Tell me a story.", "--model", "demo/story")
    children = killed.children()
    killed.end(signal.SIGKILL)
    until(lambda: gone(children), timeout_s=5)
    second = Up(data_dir)
    again = second.run("tail", printed.stderr.split()[1])
    second.end(signal.SIGINT)
    assert (again.returncode, again.stdout) == (0, printed.stdout)


def test_a_default_model_that_does_not_run_is_told(data_dir: Path) -> None:
    done = subprocess.run(
        (*MIDSTREAM, "up", "--port", "0", "--data-dir", str(data_dir), "--no-local-model"),
        env=os.environ | {"MIDSTREAM_DEFAULT_MODEL": "local/smollm2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "MIDSTREAM_DEFAULT_MODEL=local/smollm2, and the local model does not run" in done.stderr


def test_two_do_not_share_a_data_directory(up: Up) -> None:
    second = subprocess.run(
        (*MIDSTREAM, "up", "--port", "0", "--data-dir", str(up.data_dir)), capture_output=True, text=True, check=False
    )
    assert second.returncode == 2
    assert f"in use by another `midstream up` (process {up.process.pid})" in second.stderr


def test_a_port_that_is_taken_is_told(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = (*MIDSTREAM, "up", "--port", port, "--data-dir", str(data_dir))
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr


def test_the_exit_status_tells_the_outcome(up: Up) -> None:
    slow = up.run("start", "Count.", "--model", "demo/count", "--detach", "--param", "words=100000").stdout.strip()
    assert up.run("cancel", slow).returncode == 0
    assert up.run("tail", slow).returncode == 4
    assert up.run("rm", slow).returncode == 0
    missing = up.run("show", slow)
    assert missing.returncode == 1
    assert missing.stderr.startswith("error stream_")
    assert up.run("start", "x", "--model", "nope/x").stderr.startswith("error unknown_model: ")
    misfit = up.run("start", "x", "--thread", "t" * 1_000).stderr.splitlines()
    assert misfit[0].startswith("error bad_request: ")
    assert misfit[1].startswith("  body.thread: ")


@pytest.mark.local_model
@pytest.mark.skipif(not model_installed(), reason="the small model is not installed")
def test_the_small_model_answers_where_it_is_installed(data_dir: Path) -> None:
    up = Up(data_dir, local_model=True)
    done = up.run("start", "What is the capital of France?", "--param", "max_tokens=20", "--json")
    assert up.end(signal.SIGINT) == 0
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert entries[0]["data"]["model"] == "local/smollm2"
    assert "".join(entry["data"]["text"] for entry in entries if entry["type"] == "text").strip()
    assert entries[-1]["data"]["outcome"] == "completed"
