"""`pip install midstream` is the client and its commands: they run where nothing else can be imported."""

import asyncio
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.contract.scripted_broker import LENGTH, replay, scripted_broker, send

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BLOCKER = """
import sys
allowed = set({allowed!r})
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {{name!r}}: it is blocked", name=name)
sys.meta_path.insert(0, Blocker())
"""
COMMAND = "from midstream.cli.main import main; main()"


def brought_by(lines: Iterable[str]) -> set[str]:
    """Return the names of the distributions that installing these requirements brings."""
    names: set[str] = set()
    open_requirements = list(map(Requirement, lines))
    while open_requirements:
        requirement = open_requirements.pop()
        if requirement.name in names or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        names.add(requirement.name)
        open_requirements += map(Requirement, distribution(requirement.name).requires or ())
    return names


BASE = brought_by(PROJECT["dependencies"])
FILES = [file for name in BASE for file in distribution(name).files or ()]
ALLOWED = sorted(
    {*sys.stdlib_module_names, "midstream"}
    | {file.parts[0].partition(".")[0] for file in FILES if file.suffix in (".py", ".so", ".pyd")}
)


def program(code: str) -> tuple[str, ...]:
    """Return the words that run code where the base dependencies alone can be imported."""
    return (sys.executable, "-W", "error", "-c", BLOCKER.format(allowed=ALLOWED) + code)


def test_the_base_is_small() -> None:
    assert {"fastapi", "redis", "arq", "openai", "anthropic", "pydantic", "uvicorn"} & BASE == set()
    assert sum(file.size or 0 for file in FILES) < 10_000_000


@pytest.mark.parametrize(
    "code",
    [
        "import midstream; midstream.Midstream; midstream.MidstreamError",
        "from midstream.client.client import ClientEntry, Midstream, MidstreamError",
        "from midstream.sync import ClientEntry, Midstream, MidstreamError; Midstream().close()",
        "import midstream.cli.main",
    ],
)
def test_the_client_is_imported_with_the_base_alone(code: str) -> None:
    done = subprocess.run(program(code), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    blocked = subprocess.run(program("import redis"), capture_output=True, text=True, check=False)
    assert "it is blocked" in blocked.stderr


async def run(*words: str, url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *program(f"import sys; sys.argv = {['midstream', *words, '--url', url]!r}; {COMMAND}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


STATE = {"id": "s1", "status": "ended", "outcome": "completed", "model": "demo/x", "tail": LENGTH}


async def test_the_commands_on_streams_run_with_the_base_alone() -> None:
    text = "".join(f"w{offset} " for offset in range(1, LENGTH))
    async with scripted_broker(send(201, STATE), replay()) as broker:
        assert (await run("start", "hi", url=broker.url)).strip() == text.strip()
    async with scripted_broker(replay()) as broker:
        assert (await run("tail", "s1", url=broker.url)).strip() == text.strip()
    async with scripted_broker(send(200, {"data": [STATE], "next_cursor": None})) as broker:
        assert "demo/x" in await run("ls", url=broker.url)
    async with scripted_broker(send(200, STATE)) as broker:
        assert json.loads(await run("show", "s1", "--json", url=broker.url)) == STATE
    page = {"data": [{"offset": 1, "type": "text", "data": {"type": "text", "text": "hi"}}]}
    async with scripted_broker(send(200, page), send(200, {"data": []})) as broker:
        assert "hi" in await run("log", "s1", url=broker.url)
    async with scripted_broker(send(202, STATE)) as broker:
        assert "completed" in await run("cancel", "s1", url=broker.url)


@pytest.mark.parametrize("command", ["up", "broker", "worker", "config"])
def test_a_command_that_needs_more_says_what_to_install(command: str) -> None:
    code = f"import sys; sys.argv = ['midstream', {command!r}]; {COMMAND}"
    done = subprocess.run(program(code), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    extra = "up" if command == "up" else "server"
    assert done.stderr.startswith(f"Error: `midstream {command}` needs pip install 'midstream[{extra}]': No module ")
