"""Reads a blocking iterator in a thread of its own, so that it blocks nobody else."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

_END = object()


async def in_a_thread(iterator: Iterator[Any], name: str) -> AsyncGenerator[Any]:
    """Yield the iterator's items; each is read only when the consumer asks for it.

    Closing this generator closes the iterator as soon as its blocking call returns, which cannot be interrupted. The
    thread is a daemon outside of all pools, so that it neither keeps the process alive nor occupies a pool's thread.

    Args:
        iterator: The blocking iterator.
        name: The thread's name.
    """
    loop = asyncio.get_running_loop()
    requests: queue.SimpleQueue[asyncio.Future[Any] | None] = queue.SimpleQueue()

    def read() -> None:
        while (answer := requests.get()) is not None:
            item: Any = _END
            failure: BaseException | None = None
            try:
                item = next(iterator, _END)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the reader's
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_settle, answer, item, failure)
        if close := getattr(iterator, "close", None):
            with contextlib.suppress(Exception):
                close()

    threading.Thread(target=read, name=name, daemon=True).start()
    try:
        while True:
            answer = loop.create_future()
            requests.put(answer)
            item = await answer
            if item is _END:
                return
            yield item
    finally:
        requests.put(None)


def _settle(answer: "asyncio.Future[Any]", item: Any, error: BaseException | None) -> None:
    if answer.done():  # the reader is gone
        return
    if error is None:
        answer.set_result(item)
    else:
        answer.set_exception(error)
