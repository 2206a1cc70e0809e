"""What the tests of the worker share: a broker whose providers are the one that counts, and streams read to the end."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import SecretStr

from midstream.client.client import ClientEntry, Midstream
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import inside
from tests.provider.client import ProviderServer

MODELS = ("openai/gpt-test", "anthropic/claude-test", "groq/some-model")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole stream, sorted."""

    entries: list[ClientEntry]
    state: Mapping[str, Any]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of the entries of one type."""
        return [entry.data for entry in self.entries if entry.type == kind]

    def joined(self, kind: str) -> str:
        """Return what the entries of `text` or `reasoning` make up."""
        return "".join(data["text"] for data in self.of(kind))

    @property
    def end(self) -> tuple[str, str | None]:
        """The outcome, and the code of the failure."""
        (end,) = self.of("end")
        return end["outcome"], (end["error"] or {}).get("code")


def paid_by(provider_url: str, settings: Settings, **further: Any) -> Settings:
    """Return settings by which every provider is called at one address."""
    return settings.model_copy(
        update={
            "openai_api_key": SecretStr("sk-test"),
            "openai_base_url": f"{provider_url}/v1",
            "anthropic_api_key": SecretStr("sk-ant-test"),
            "anthropic_base_url": provider_url,
            "gemini_api_key": SecretStr("test"),
            "gemini_base_url": provider_url,
            "providers": {"groq": f"{provider_url}/v1"},
            **further,
        }
    )


@asynccontextmanager
async def client_of(settings: Settings, worker_settings: Settings | None = None) -> AsyncIterator[Midstream]:
    """Yield a client of a broker that has one worker, which may have settings of its own."""
    async with inside.worker(worker_settings or settings), client_alone(settings) as client:
        yield client


@asynccontextmanager
async def client_alone(settings: Settings) -> AsyncIterator[Midstream]:
    """Yield a client of a broker; the worker is somebody else's business."""
    async with inside.broker(settings) as http, Midstream(str(http.base_url)) as client:
        yield client


async def start(client: Midstream, script: Script, model: str = MODELS[1], **fields: Any) -> str:
    """Start what a script tells the provider to do; return the stream's id."""
    stream_id: str = (await client.start(directive(script), model=model, **fields))["id"]
    return stream_id


async def read(client: Midstream, stream_id: str) -> Answer:
    """Read a stream to its end."""
    entries = [entry async for entry in client.tail(stream_id)]
    assert [entry.offset for entry in entries] == list(range(1, len(entries) + 1))  # I1
    return Answer(entries, await client.state(stream_id))


async def cancelled_upstream(provider: ProviderServer, got: Answer) -> None:
    """Return once the provider has cancelled the response that a stream was read from."""
    async with httpx2.AsyncClient(base_url=provider.openai_url) as http:
        while (await http.get(f"/responses/{got.state['upstream_id']}")).json()["status"] != "cancelled":
            pass  # the worker asks for it after the end; the test's time-out bounds this


async def answer(client: Midstream, script: Script, model: str = MODELS[1], **fields: Any) -> Answer:
    """Start a script and read it to its end."""
    return await read(client, await start(client, script, model, **fields))
