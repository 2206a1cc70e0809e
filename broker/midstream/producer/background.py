"""`midstream.in_background`: an answer that outlives the request that asked for it (PROTOCOL: Produce/Background)."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from midstream.attempts.delta import Delta
from midstream.producer.producer import Producer

logger = logging.getLogger(__name__)

Source = AsyncIterable[str | Delta] | Callable[[Producer], Awaitable[Any]]

_ANSWERS: Final[set[asyncio.Task[None]]] = set()
"""An event loop holds its tasks by weak references alone."""


async def in_background(out: Producer, source: Source) -> str:
    """Start a stream, have a task of its own write it, and return its id at once.

    Args:
        out: What `midstream.produce` returned, whose block nobody has entered.
        source: An async iterator of what an app could yield; or a coroutine function, which is handed the producer.

    Raises:
        ProduceError: Nothing was started, and nothing of the source has run.
        TypeError: The same, because it is no source.
    """
    if inspect.isasyncgenfunction(source) or not (isinstance(source, AsyncIterable) or callable(source)):
        raise TypeError("a source is an async iterator (call the generator), or a coroutine function (do not call it)")
    begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(_write(out, source, begun), name="an answer in the background")
    _ANSWERS.add(task)
    task.add_done_callback(_ANSWERS.discard)
    return await asyncio.shield(begun)


async def drain(limit_s: float) -> None:
    """Wait until the answers of this event loop are written; those that take longer are `interrupted`."""
    loop = asyncio.get_running_loop()
    mine = [task for task in _ANSWERS if task.get_loop() is loop]
    if mine:
        _, late = await asyncio.wait(mine, timeout=limit_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _write(out: Producer, source: Source, begun: asyncio.Future[str]) -> None:
    try:
        async with out:
            begun.set_result(out.id)
            async with out.block.held():
                await _write_all(out, source)
    except Exception as error:
        if begun.done():
            logger.exception("the answer %s failed", out.id, extra={"stream": out.id})
        else:
            begun.set_exception(error)
    finally:
        begun.cancel()


async def _write_all(out: Producer, source: Source) -> None:
    if not isinstance(source, AsyncIterable):
        await source(out)
        return
    async with AsyncExitStack() as stack:
        if (close := getattr(source, "aclose", None)) is not None:
            stack.push_async_callback(close)  # at once, and not when the collector finds it
        async for item in source:
            await out.write(item)
