"""OpenAI's and Anthropic's JavaScript SDKs against the running system (PROTOCOL: Faces)."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.node_tests import installed, passed
from tests.provider.client import ProviderServer
from tests.system import System, stop

FOLDER = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def node_sdks() -> str:
    """Node, with both SDKs."""
    return installed(FOLDER)


async def test_the_javascript_sdks_read_resume_fail_and_retry(
    node_sdks: str, redis_url: str, tmp_path: Path, provider: ProviderServer
) -> None:
    async with System(redis_url, tmp_path, provider.url) as system:
        await system.start()
        assert await passed(node_sdks, FOLDER, "sdks.test.mjs", BROKER=system.url) == 13
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
