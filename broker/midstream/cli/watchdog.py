"""Ends a process whose event loop stands still: its supervisor starts it again, and its clients come back."""

import asyncio
import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOOKS: Final = 20
"""How often the watchdog looks before it gives a loop up."""
STALLED_STATUS: Final = 70
"""The exit status of a process that was ended so."""
LAST_WORDS_S: Final = 5
"""What the report may take: whoever should read it may be stuck as well."""


@contextmanager
def watched(limit_s: float) -> Iterator[None]:
    """End this process with `STALLED_STATUS` where the running loop does not turn for `limit_s` in the block.

    The stacks of all threads are written to stderr first. Counted are the watchdog's own looks, not the time between
    them: a process that was stopped, or a machine that slept, is looked at once when it wakes. A loop that is stuck in
    C code which lets no other thread run is not noticed.
    """
    loop = asyncio.get_running_loop()
    over, turned = threading.Event(), threading.Event()
    thread = threading.Thread(target=_watch, args=(loop, limit_s, over, turned), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(loop: asyncio.AbstractEventLoop, limit_s: float, over: threading.Event, turned: threading.Event) -> None:
    turned.set()
    looks = 0
    while not over.wait(limit_s / LOOKS):
        if not turned.is_set():
            looks += 1
            if looks >= LOOKS:
                _end(limit_s)
            continue
        looks = 0
        turned.clear()
        try:
            loop.call_soon_threadsafe(turned.set)
        except RuntimeError:  # the loop is closed
            return


def _end(limit_s: float) -> None:
    # Not by the log: the stuck thread may hold its lock. And not for ever: what stderr leads to may be full.
    signal.alarm(LAST_WORDS_S)
    os.write(2, f"watchdog: the event loop has not turned for {limit_s:g} s; this process ends\n".encode())
    faulthandler.dump_traceback(file=2, all_threads=True)
    os._exit(STALLED_STATUS)
