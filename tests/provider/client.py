"""The fake provider as a test sees it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2

from tests import fork_server

Json = dict[str, Any]


class ProviderServer:
    """Asks the provider for its books.

    Attributes:
        url: Its URL; the base URL that Anthropic's SDK wants.
        openai_url: The base URL that OpenAI's SDK wants.
    """

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self.url = url
        self.openai_url = f"{url}/v1"
        self._client = client

    async def requests(self) -> list[Json]:
        """Return all calls since the last reset: also rejected ones, and `retrieve`, which reads again."""
        answer: list[Json] = (await self._client.get("/calls")).raise_for_status().json()
        return answer

    async def calls(self) -> list[Json]:
        """Return the calls that were billed."""
        return [call for call in await self.requests() if call["billed"]]

    async def begun(self, number: int = 0) -> Json:
        """Return a call as soon as it has come in."""
        answer = await self._client.get(f"/calls/{number}/begun", timeout=30.0)
        call: Json = answer.raise_for_status().json()
        return call

    async def ended(self, number: int = 0) -> Json:
        """Return a call as soon as its connection has ended; `connection` says how."""
        answer = await self._client.get(f"/calls/{number}/ended", timeout=30.0)
        call: Json = answer.raise_for_status().json()
        return call

    async def reset(self) -> None:
        """Forget all calls and stop all generations."""
        (await self._client.post("/reset")).raise_for_status()

    async def release(self) -> None:
        """Let scripts that hold go on."""
        (await self._client.post("/release")).raise_for_status()


@contextmanager
def provider_process(program: str) -> Iterator[str]:
    """Run a program of the fork server that prints its URL, and yield that."""
    with fork_server.running(fork_server.shared().path, program) as (pid, output):
        try:
            url = output.readline().strip()
            assert url.startswith("http"), "the fake provider did not start"
            yield url
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
