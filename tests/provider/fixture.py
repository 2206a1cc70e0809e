"""Fixtures for the fake provider: one process for all tests, its books emptied before each."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.provider.client import ProviderServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def provider_url() -> Iterator[str]:
    """URL of the provider's process, which lives as long as the test run."""
    yield from _served("tests.provider", "--port", "0")


@pytest.fixture
async def provider(provider_url: str) -> AsyncIterator[ProviderServer]:
    """The provider with empty books."""
    async with httpx2.AsyncClient(base_url=provider_url) as client:
        server = ProviderServer(provider_url, client)
        await server.reset()
        yield server


@pytest.fixture(scope="session")
def hostile_url() -> Iterator[str]:
    """URL of the provider that means harm, a process that lives as long as the test run."""
    yield from _served("tests.provider.hostile")


def _served(module: str, *arguments: str) -> Iterator[str]:
    """Run a module that prints its URL, and yield that."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert url.startswith("http"), "the fake provider did not start"
            yield url
        finally:
            process.kill()
