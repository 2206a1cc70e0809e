"""Reads the events of one SDK call, closes its connection in every case, and maps its failures."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from midstream_worker.sources.failures import Failures


async def events(call: Awaitable[Any], failures: Failures) -> AsyncGenerator[Any]:
    """Make the call and yield its events; close this iterator (`aclosing`) to close the connection.

    Args:
        call: An SDK's call with `stream=True`; it is made when the first event is asked for.
        failures: The provider's table of failures.

    Raises:
        SourceError: The call or its stream failed.
    """
    started = False
    try:
        async with await call as stream:
            async for event in stream:
                started = True
                yield event
                # What came in one piece is handed out without a pause, half a second of it: the others wait too long.
                await asyncio.sleep(0)
    except Exception as error:  # noqa: BLE001  `of_exception` raises what is not theirs
        # Nothing of the SDK's error is chained: it carries the request, and the key in its headers.
        raise failures.of_exception(error, started=started) from None
