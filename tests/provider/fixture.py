"""Fixtures for the fake provider: one process for all tests, its books emptied before each."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from tests.provider.client import ProviderServer, provider_process


@pytest.fixture(scope="session")
def provider_url() -> Iterator[str]:
    """URL of the provider's process, which lives as long as the test run."""
    with provider_process("provider") as url:
        yield url


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
    with provider_process("hostile") as url:
        yield url
