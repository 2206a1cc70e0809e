"""Hears that the server stops, before it waits for its connections (PROTOCOL: Router/Stop).

A server ends an app's lifespan only after all connections have closed. A tail closes with its stream, which may take
an hour, so it has to be parted from earlier: at the signal.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

STOPS: Final = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def on_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in this loop at each signal to stop; what handled the signal before handles it then.

    Outside of the main thread, where Python lets nobody listen, and for a signal that nobody handles, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    ours = {number: _chained(before, loop, stop) for number in STOPS if callable(before := signal.getsignal(number))}
    for number, (handler, _) in ours.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, (handler, before) in ours.items():
            if signal.getsignal(number) is handler:  # the server may have put its own back
                signal.signal(number, before)


def _chained(before: Callable[..., Any], loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Any:
    def handle(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(stop)
        before(number, frame)

    return handle, before
