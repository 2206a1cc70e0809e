"""How a producer reaches its stream by a broker: one HTTP client, and a task that renews the lease."""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Final

import httpx2

from midstream.attempts.attempt import Attempt, Lost
from midstream.attempts.attempt_parts import AttemptParts
from midstream.attempts.conclusion import Stop
from midstream.attempts.lease import Stoppable
from midstream.attempts.write_delays import WriteDelays
from midstream.log.entries import STEP, Entry
from midstream.log.errors import LogUnavailable
from midstream.producer.http_log import HttpLog
from midstream.requests.request import GenerationRequest
from midstream.settings import Settings

CONNECT_TIMEOUT_S: Final = 10.0
REPLY_TIMEOUT_S: Final = 30.0
RENEWALS_PER_LEASE: Final = 3
AGAIN_S: Final = 0.25
NO_LIMIT: Final = {"max_output_bytes": 2**53, "stream_entries": 0, "generation_timeout_s": 1e8}
"""The broker's limits hold."""


class _NoDisk:
    async def wait(self) -> bool:
        """Return: a broker does not tell when the end is on disk."""
        return True


class HttpLink:
    """The way of one producer to a broker."""

    def __init__(self, settings: Settings, http: httpx2.AsyncClient) -> None:
        self.settings = settings.model_copy(update=NO_LIMIT)
        self._http = http
        self._log: HttpLog
        self._task: asyncio.Task[None] | None = None

    async def begin(
        self,
        request: GenerationRequest,
        tenant: str,  # noqa: ARG002
        key: str | None,
        *,
        take_up: bool,
    ) -> tuple[Attempt, str]:
        """Start a stream; return its attempt and its id. The tenant is that of the API key."""
        body = request.model_dump(mode="json", exclude_none=True)
        log = self._log = HttpLog(self._http, body, key or secrets.token_hex(), take_up=take_up)
        parts = AttemptParts(self.settings, log, log, _NoDisk(), WriteDelays())
        claim = await log.claim("", secrets.token_hex(), 0)
        stream_id = claim.state.thread
        return Attempt(parts, stream_id, claim.state, claim.fence), stream_id

    async def earlier_entries(self) -> AsyncIterator[Entry]:
        """Yield the steps of the streams whose key was taken up, as the broker told them at the start."""
        for step in self._log.steps:
            yield Entry(STEP, step)

    def keep(self, producer: Stoppable) -> None:
        """Renew the producer's lease until the link is closed."""
        self._task = asyncio.create_task(self._renew(producer), name=f"lease of {producer.attempt.stream_id}")

    async def close(self) -> None:
        """Renew no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _renew(self, producer: Stoppable) -> None:
        attempt = producer.attempt
        wait_s = attempt.state.lease_ms / 1000 / RENEWALS_PER_LEASE
        while True:
            await asyncio.sleep(wait_s)
            wait_s = attempt.state.lease_ms / 1000 / RENEWALS_PER_LEASE
            try:
                if attempt.sealed:
                    return
                if await attempt.renew():
                    producer.stop(Stop.CANCELLED)
            except LogUnavailable:
                wait_s = AGAIN_S
            except Lost:
                producer.stop(Stop.LOST)


@cache
def _certificates() -> ssl.SSLContext:
    """Read the authorities that may be trusted once, because that takes as long as hundreds of appends."""
    return httpx2.create_ssl_context()


@asynccontextmanager
async def linked_by_http(settings: Settings, url: str, api_key: str | None) -> AsyncIterator[HttpLink]:
    """Hold a link to the broker at `url`."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = httpx2.Timeout(REPLY_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    verify = _certificates() if url.startswith("https") else False
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=timeout, verify=verify) as http:
        link = HttpLink(settings, http)
        try:
            yield link
        finally:
            await link.close()
