"""The AI SDK's own packages against the running system (PROTOCOL: The AI SDK face): majors 5, 6 and 7, from Node."""

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.node_tests import installed, passed
from tests.provider.client import ProviderServer
from tests.system import ROOT, System

FOLDER = Path(__file__).parent / "node-ai"
MODULE = ROOT / "broker" / "midstream" / "page" / "midstream.js"
MAJORS = (5, 6, 7)


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the packages of all three majors."""
    return installed(FOLDER)


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer) -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, provider.url) as running:
        yield await running.start()


async def run(node: str, system: System, major: int, *options: str, **environment: str) -> None:
    """Run the tests that are in JavaScript, and fail as they do."""
    variables = {"MAJOR": str(major), "BROKER": system.url, "MODULE": MODULE.as_uri()}
    await passed(node, FOLDER, "useChat.test.mjs", *options, **variables, **environment)


def test_the_modules_types_hold_under_strict(node: str) -> None:
    # TypeScript's own files for browsers need no check by us.
    flags = ("--strict", "--noEmit", "--skipDefaultLibCheck", "--target", "ES2022", "--module", "nodenext")
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
    [*itertools.product(("anew", "continued"), MAJORS), ("after a reset", 7)],  # older majors get an error instead
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
