"""Reads the events of one SDK call, closes its connection in every case, and maps its failures."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final

from midstream.attempts.delta import Delta, SourceError
from midstream.log.entries import Json
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.provider_json import as_object

TURN: Final = 8
"""Events that are read before other generations have a turn, if they came in one piece: about half a millisecond."""

Iterate = Callable[[Any], AsyncIterator[Any]]
Reader = Callable[[Json], Iterable[Delta]]


async def events(
    call: Awaitable[Any], failures: Failures, read: Reader, iterate: Iterate = aiter
) -> AsyncGenerator[list[Delta]]:
    """Make the call and yield the deltas of each event; close this iterator (`aclosing`) to close the connection.

    Args:
        call: An SDK's call with `stream=True` that yields JSON as it came (`cast_to=object`): the SDK's own models
            of events accept any type for any field, and take 30 µs for each nested object that a provider sends.
            The call is made when the first event is read.
        failures: The provider's table of failures.
        read: Makes the deltas of one event.
        iterate: How the SDK's stream is iterated.

    Raises:
        SourceError: The call, its stream, or the reading of an event failed.
    """
    count = 0
    try:
        async with await call as stream:
            async for event in iterate(stream):
                count += 1
                yield list(read(as_object(event)))
                # Events that came in one piece would be read without a pause, for half a second: others wait too long.
                if count % TURN == 0:
                    await asyncio.sleep(0)
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001  `of_exception` raises what is not theirs
        # The SDK's error is not chained: it carries the request, with the key in its headers.
        raise failures.of_exception(error, started=count > 0) from None
