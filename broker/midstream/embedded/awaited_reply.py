"""Waits until a server of another process answers."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

POLL_S: Final = 0.02
PROBE_TIMEOUT_S: Final = 2.0

Connection = Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


async def until_reply(connect: Callable[[], Connection], request: bytes, reply: bytes) -> None:
    """Return once the first line of the reply to a request contains `reply`."""
    while not await replies(connect, request, reply):  # noqa: ASYNC110 - no event of ours can be set by another process
        await asyncio.sleep(POLL_S)


async def replies(connect: Callable[[], Connection], request: bytes, reply: bytes) -> bool:
    """Tell whether the first line of the reply to a request contains `reply`."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await connect()
            try:
                writer.write(request)
                return reply in await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
    return False
