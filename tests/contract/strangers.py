"""Clients that nobody knows, and what they meet: connections that are opened, held and refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
from pydantic import SecretStr

from midstream import counters
from midstream.settings import Settings
from tests import inside
from tests.contract.raw_connections import open_connection

HALF_HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
ASK = HALF_HEAD + b"\r\n"
LAST = HALF_HEAD + b"Connection: close\r\n\r\n"
KEY = "k" * 32
OURS = {"Authorization": f"Bearer {KEY}"}
SOON_S = 5.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Open = Callable[..., Awaitable[Connection]]


def hasty(settings: Settings) -> Settings:
    """Return settings with short times, so that one sweep follows the other."""
    times = dict.fromkeys(("head_timeout_ms", "body_timeout_ms", "send_timeout_ms"), 400)
    return settings.model_copy(update={**times, "api_keys": SecretStr(f"{KEY}:acme")})


@asynccontextmanager
async def opening(settings: Settings, **changes: object) -> AsyncIterator[tuple[httpx2.AsyncClient, Open]]:
    """Serve, and yield a client and a function that opens a connection and sends something on it."""
    writers = []  # a writer closes its connection when it is forgotten
    async with inside.broker(settings.model_copy(update=changes)) as client:

        async def opened(sent: bytes = b"", **options: object) -> Connection:
            reader, writer = await open_connection(client, **options)
            writers.append(writer)
            writer.write(sent)
            return reader, writer

        try:
            yield client, opened
        finally:
            for writer in writers:
                writer.transport.abort()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """Return what is answered until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(SOON_S):
            while part := await reader.read(65_536):
                received += part
    return received


async def is_served(opened: Open) -> bool:
    reader, _ = await opened(LAST)
    return b"HTTP/1.1 200" in await until_closed(reader)


def refused(code: str) -> int:
    return counters.counts().get(("refused", code), 0)


@asynccontextmanager
async def counted(code: str) -> AsyncIterator[None]:
    """Something is refused with this code, and noted so."""
    before = refused(code)
    yield
    assert refused(code) > before
