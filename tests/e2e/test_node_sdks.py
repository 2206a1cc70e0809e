"""OpenAI's and Anthropic's JavaScript SDKs against the running system (PROTOCOL: Faces)."""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.provider.client import ProviderServer
from tests.system import System, stop

FOLDER = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def node_sdks() -> str:
    """Node, with both SDKs installed as the lock says."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no `node` and `npm` on the PATH")
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm could not install the SDKs:\n{done.stderr[-1_000:]}")
    return node


async def test_the_javascript_sdks_read_resume_fail_and_retry(
    node_sdks: str, redis_url: str, tmp_path: Path, provider: ProviderServer
) -> None:
    async with System(redis_url, tmp_path, provider.url) as system:
        await system.start()
        process = await asyncio.create_subprocess_exec(
            *(node_sdks, "--test-reporter=spec", "--test-timeout=40000", "--test", "sdks.test.mjs"),
            cwd=FOLDER,
            env={"PATH": os.environ["PATH"], "BROKER": system.url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"fail 0" in output, output.decode()
    assert b"pass 13" in output, output.decode()
    retried = [call for call in await provider.calls() if "retried" in str(call["body"])]
    assert len(retried) == 6  # once for each door and way of losing an answer


async def test_a_worker_killed_under_the_javascript_sdks(
    node_sdks: str, redis_url: str, tmp_path: Path, provider: ProviderServer
) -> None:
    async with System(redis_url, tmp_path, provider.url, flush_ms=0) as system:
        await system.start(workers=2)
        process = await asyncio.create_subprocess_exec(
            *(node_sdks, "loss.test.mjs"),
            cwd=FOLDER,
            env={"PATH": os.environ["PATH"], "BROKER": system.url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout
        seen = b""
        async with asyncio.timeout(20):
            while b"ALL HAVE BEGUN" not in seen:
                line = await process.stdout.readline()
                assert line, seen.decode()
                seen += line
        for worker in system.workers:
            await stop(worker, signal.SIGKILL)
        await system.start_worker()
        output, _ = await process.communicate()
    assert process.returncode == 0, (seen + output).decode()
    assert len(await provider.calls()) == 3
