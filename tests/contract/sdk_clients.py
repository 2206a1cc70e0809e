"""What the tests of the peers' faces share: a broker, a worker on the fake provider, and the real SDKs as clients."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2
import openai
from pydantic import SecretStr

from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import inside
from tests.contract.source_reading import KEY
from tests.provider.client import ProviderServer


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
    collected = [] if into is None else into
    async for event in stream:
        collected.append(event)
    return collected


async def first_events(stream: Any, count: int) -> list[Any]:
    """Read at most so many events of an SDK's stream, and break it."""
    collected: list[Any] = []
    async for event in stream:
        collected.append(event)
        if len(collected) == count:
            break
    await stream.close()
    return collected


def stream_id_of(sdk_id: str) -> str:
    """Return the id of the stream that a `resp_`, `chatcmpl-` or `msg_` id names."""
    return sdk_id.replace("-", "_").split("_")[1]


def _spoil(request: httpx2.Request, how: list[str]) -> str | None:
    """Return how this request's answer is lost, if it is; one that is not waited for is so told to the transport."""
    lost = how.pop(0) if how else None
    if lost == "timeout":
        request.extensions["timeout"] = {"connect": 5, "read": 0.05, "write": 5, "pool": 5}
    return lost


def _lost() -> httpx2.Response:
    return httpx2.Response(500, json={"error": {"message": "lost"}}, headers={"retry-after-ms": "1"})


class AsyncLosesAnswers(httpx2.AsyncBaseTransport):
    """A way to the broker on which the first answers are lost: the request arrives, a 500 or nothing comes back."""

    def __init__(self, how: list[str]) -> None:
        self.sent = 0
        self._how = how
        self._inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent += 1
        lost = _spoil(request, self._how)
        answer = await self._inner.handle_async_request(request)
        if lost == "500":
            await answer.aclose()
            return _lost()
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class LosesAnswers(httpx2.BaseTransport):
    """The same for a synchronous client."""

    def __init__(self, how: list[str]) -> None:
        self.sent = 0
        self._how = how
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent += 1
        lost = _spoil(request, self._how)
        answer = self._inner.handle_request(request)
        if lost == "500":
            answer.close()
            return _lost()
        return answer

    def close(self) -> None:
        self._inner.close()
