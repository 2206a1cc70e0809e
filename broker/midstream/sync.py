"""The client for programs without an event loop, and for notebooks, whose loop is in use.

    from midstream.sync import Midstream

    with Midstream("http://127.0.0.1:8080") as midstream:
        stream = midstream.start("Tell me of rivers")
        for entry in midstream.tail(stream["id"]):
            print(entry.data.get("text", ""), end="")

The client has the methods of `midstream.Midstream`, with the same arguments, results and errors. That client does the
work, in a loop that runs in a thread of its own. `produce` is `midstream.produce` for such programs.
"""

import asyncio
import atexit
import functools
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, Self, TypeVar

from midstream.client import client
from midstream.client.client import ClientEntry, MidstreamError, ThreadEntry

if TYPE_CHECKING:
    from midstream.producer.blocking_producer import BlockingProducer

__all__ = ["ClientEntry", "Midstream", "MidstreamError", "ThreadEntry", "produce"]

Result = TypeVar("Result")

_loop_guard = threading.Lock()
_loop_threads: "list[_LoopThread]" = []
"""The thread of this process' producers, once there are any."""
os.register_at_fork(after_in_child=_loop_threads.clear)  # a child has none of its parent's threads


class Midstream:
    """A client of one broker; a context manager. It may be used by any number of threads.

    Args:
        base_url: The broker's address.
        api_key: Sent as a bearer token.
        token: As of `midstream.Midstream`; the function has no `async`, and is called in a thread of its own.
        options: `heartbeat_s`, `max_failures`, `tries`: as of `midstream.Midstream`.
    """

    def __init__(
        self,
        base_url: str = client.DEFAULT_URL,
        api_key: str | None = None,
        *,
        token: str | Callable[[], str] | None = None,
        **options: Any,
    ) -> None:
        function = functools.partial(asyncio.to_thread, token) if callable(token) else token
        self._client = client.Midstream(base_url, api_key, token=function, **options)
        self._loop_thread = _LoopThread()
        # A client that is not closed is closed when it is collected, or when the program ends.
        self._close = weakref.finalize(self, self._loop_thread.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. Streams go on, and the client cannot be used any more."""
        self._close()

    def start(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Start a stream and return its state; see `midstream.Midstream.start`."""
        return self._run(self._client.start(prompt, model=model, idempotency_key=idempotency_key, **fields))

    def tail(self, stream_id: str, after: int = 0) -> Generator[ClientEntry, None, None]:
        """Yield the entries after offset `after`, up to the `end` entry; see `midstream.Midstream.tail`."""
        yield from self._each(self._client.tail(stream_id, after))

    def state(self, stream_id: str, wait_s: float | None = None) -> dict[str, Any]:
        """Return a stream's state, or wait for its end first; see `midstream.Midstream.state`."""
        return self._run(self._client.state(stream_id, wait_s))

    def entries(self, stream_id: str, after: int = 0, limit: int | None = None) -> Sequence[ClientEntry]:
        """Return a page of the log's entries after offset `after`; see `midstream.Midstream.entries`."""
        return self._run(self._client.entries(stream_id, after, limit))

    def list(
        self,
        *,
        status: str | None = None,
        thread: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """Return a page of streams, the newest first; see `midstream.Midstream.list`."""
        return self._run(self._client.list(status=status, thread=thread, limit=limit, cursor=cursor))

    def threads(self, *, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of threads; see `midstream.Midstream.threads`."""
        return self._run(self._client.threads(limit=limit, cursor=cursor))

    def thread(self, thread: str, *, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
        """Return a thread's messages; see `midstream.Midstream.thread`."""
        return self._run(self._client.thread(thread, limit=limit, cursor=cursor))

    def tail_thread(self, thread: str, after: str | None = None) -> Generator[ThreadEntry, None, None]:
        """Yield what came in a thread after a cursor, and what comes; see `midstream.Midstream.tail_thread`."""
        yield from self._each(self._client.tail_thread(thread, after))

    def delete_thread(self, thread: str) -> None:
        """Delete all streams of a thread; see `midstream.Midstream.delete_thread`."""
        self._run(self._client.delete_thread(thread))

    def cancel(self, stream_id: str) -> dict[str, Any]:
        """Stop a stream and return its state; see `midstream.Midstream.cancel`."""
        return self._run(self._client.cancel(stream_id))

    def delete(self, stream_id: str) -> None:
        """Delete a stream; see `midstream.Midstream.delete`."""
        self._run(self._client.delete(stream_id))

    def erase_user(self, user: str) -> int:
        """Delete all streams of a user; see `midstream.Midstream.erase_user`."""
        return self._run(self._client.erase_user(user))

    def models(self) -> Sequence[dict[str, Any]]:
        """Return the models that this broker can run; see `midstream.Midstream.models`."""
        return self._run(self._client.models())

    def operate(self, path: str, method: str = "GET", **options: Any) -> dict[str, Any]:
        """Ask or do what an operator may; see `midstream.Midstream.operate`."""
        return self._run(self._client.operate(path, method, **options))

    def _each(self, entries: AsyncGenerator[Result, None]) -> Generator[Result, None, None]:
        try:
            while (entry := self._run(_next(entries))) is not None:
                yield entry
        finally:
            if self._close.alive:  # otherwise its connection is closed already
                self._run(entries.aclose())

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        if not self._close.alive:
            work.close()
            raise RuntimeError("this client is closed")
        try:
            return self._loop_thread.run(work)
        except futures.CancelledError:
            raise RuntimeError("this client was closed by another thread") from None


def produce(url: str | None = None, **fields: Any) -> "BlockingProducer":
    """Return a new stream that this program appends to, for `with`; see `midstream.produce`.

    All producers of a process share one thread with an event loop.
    """
    from midstream.producer.blocking_producer import BlockingProducer  # noqa: PLC0415 - the client needs none of it
    from midstream.producer.entrance import produce as produce_in_loop  # noqa: PLC0415

    producer = produce_in_loop(url, **fields)
    with _loop_guard:
        if not _loop_threads:
            _loop_threads.append(_LoopThread())
            atexit.register(_loop_threads[0].close)
        return BlockingProducer(producer, _loop_threads[0].run)


class _LoopThread:
    """A loop in a thread of its own. A program may end without waiting for it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._closing: asyncio.Event
        self._is_running = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="midstream", daemon=True)
        self._thread.start()
        self._is_running.wait()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what the coroutine returns. If the caller is interrupted meanwhile (Ctrl-C), it is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # this has no effect if it is done

    def close(self) -> None:
        """End the loop: its tasks are cancelled, and its connections are closed."""
        self._loop.call_soon_threadsafe(self._closing.set)
        if threading.current_thread() is not self._thread:  # the garbage collector may call this in any thread
            self._thread.join()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._is_running.set()
        await self._closing.wait()


async def _next(entries: AsyncGenerator[Result, None]) -> Result | None:
    return await anext(entries, None)
