"""What the tests of the peers' faces share: a broker, a worker on the fake provider, and the real SDKs as clients."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2
import openai
from pydantic import SecretStr

from broker.settings import Settings
from tests import inside
from tests.contract.sources_support import KEY
from tests.provider.client import ProviderServer
from tests.provider.script import Script, directive


@dataclass(frozen=True)
class Doors:
    """One broker as each kind of client sees it."""

    http: httpx2.AsyncClient
    openai: openai.AsyncOpenAI
    anthropic: anthropic.AsyncAnthropic

    @property
    def url(self) -> str:
        return str(self.http.base_url).rstrip("/")


def on_provider(settings: Settings, provider: ProviderServer, **further: Any) -> Settings:
    """Return settings whose providers are all the fake one; every delta is an entry of its own."""
    return settings.model_copy(
        update={
            "openai_api_key": SecretStr(KEY),
            "openai_base_url": provider.openai_url,
            "anthropic_api_key": SecretStr(KEY),
            "anthropic_base_url": provider.url,
            "providers": {"groq": provider.openai_url},
            "flush_ms": 0,
            "flush_bytes": 1,
            **further,
        }
    )


@asynccontextmanager
async def doors(settings: Settings, *, worker: bool = True, retries: int = 0) -> AsyncIterator[Doors]:
    """Serve, and yield clients that validate what they are answered."""
    async with inside.broker(settings) as http:
        base_url = str(http.base_url).rstrip("/")
        strict: dict[str, Any] = {"max_retries": retries, "_strict_response_validation": True, "api_key": "any"}
        async with (
            openai.AsyncOpenAI(base_url=f"{base_url}/v1", **strict) as of_openai,
            anthropic.AsyncAnthropic(base_url=base_url, **strict) as of_anthropic,
        ):
            served = Doors(http, of_openai, of_anthropic)
            if not worker:
                yield served
                return
            async with inside.worker(settings):
                yield served


def ask(script: Script) -> list[Any]:
    """Return the messages that make the provider follow a script."""
    return [{"role": "user", "content": directive(script)}]


async def events(stream: Any, into: list[Any] | None = None) -> list[Any]:
    """Read an SDK's stream to its end; what came before a failure stands in `into`."""
    found = [] if into is None else into
    async for event in stream:
        found.append(event)
    return found


def stream_id_of(sdk_id: str) -> str:
    """Return the stream behind a `resp_`, `chatcmpl-` or `msg_` id."""
    return sdk_id.replace("-", "_").split("_")[1]
