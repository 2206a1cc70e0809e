"""The AI SDK's own packages against the running system (PROTOCOL: The AI SDK face): majors 5, 6 and 7, from Node."""

import asyncio
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.provider.client import ProviderServer
from tests.system import ROOT, System

FOLDER = Path(__file__).parent / "node-ai"
MODULE = ROOT / "broker" / "page" / "midstream.js"
MAJORS = (5, 6, 7)


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the packages of all three majors installed as the lock says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no `node` and `npm` on the PATH")
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm could not install the AI SDK:\n{done.stderr[-1_000:]}")
    return node


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer) -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, provider.url) as running:
        yield await running.start()


async def run(node: str, system: System, major: int, *options: str, **environment: str) -> None:
    """Run the tests that are in JavaScript, and fail as they do."""
    told = {"PATH": os.environ["PATH"], "MAJOR": str(major), "BROKER": system.url, "MODULE": MODULE.as_uri()}
    process = await asyncio.create_subprocess_exec(
        node,
        "--test-reporter=spec",
        "--test-timeout=40000",
        "--test",
        *options,
        "useChat.test.mjs",
        cwd=FOLDER,
        env={**told, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"fail 0" in output, output.decode()
    assert b"pass 0" not in output, output.decode()


def test_the_modules_types_hold_under_strict(node: str) -> None:
    flags = ("--strict", "--noEmit", "--target", "ES2022", "--module", "nodenext")
    checked = subprocess.run(
        [node, "node_modules/typescript/bin/tsc", *flags, "midstream.types.ts"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("major", MAJORS)
async def test_the_real_client_reads_stops_and_resumes(node: str, system: System, major: int) -> None:
    await run(node, system, major)


@pytest.mark.parametrize(
    ("how", "major"),
    [*itertools.product(("anew", "continued"), MAJORS), ("behind a reset", 7)],  # older majors get an error instead
)
async def test_an_answer_of_two_workers_is_never_shown_twice(node: str, system: System, how: str, major: int) -> None:
    async def kill(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        system.workers[0].kill()
        await system.start_worker()
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(kill, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await run(node, system, major, f"--test-name-pattern={how}", KILL=f"http://127.0.0.1:{port}/")
