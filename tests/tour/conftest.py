"""What the tour stands on: a broker and a worker that really run, and a provider that counts what it is paid."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from pydantic import SecretStr

from midstream.client.client import Midstream
from midstream.settings import Settings
from tests import inside


@pytest.fixture
def settings(settings: Settings, provider_url: str) -> Settings:
    """The tests' quick settings, with the two paid providers at the address of the one that counts."""
    return settings.model_copy(
        update={
            "openai_api_key": SecretStr("sk-test"),
            "openai_base_url": f"{provider_url}/v1",
            "anthropic_api_key": SecretStr("sk-ant-test"),
            "anthropic_base_url": provider_url,
        }
    )


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain HTTP client of a running broker, beside which one worker runs."""
    async with inside.worker(settings), inside.broker(settings) as http:
        yield http


@pytest.fixture
async def midstream(http: httpx2.AsyncClient) -> AsyncIterator[Midstream]:
    """The Python client of the same broker."""
    async with Midstream(str(http.base_url)) as midstream:
        yield midstream
