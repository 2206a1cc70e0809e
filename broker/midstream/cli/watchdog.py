"""Ends a process whose event loop stands still: its supervisor starts it again, and its clients come back."""

import asyncio
import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOOKS: Final = 10
"""Number of looks in a row that find the loop stuck before the watchdog ends the process."""
STALLED_STATUS: Final = 70
"""The exit status of a process that the watchdog ended."""
REPORT_S: Final = 5
"""Longest time for the report, because the process that reads stderr may be stuck as well."""


@contextmanager
def watched(limit_s: float) -> Iterator[None]:
    """End this process with `STALLED_STATUS` if the running loop does not turn for `limit_s` inside the block.

    The stacks of all threads are written to stderr first. The watchdog counts its own looks, not the time between them,
    so a process that was stopped, or a machine that slept, is looked at only once when it wakes. The watchdog does not
    notice a loop that is stuck in C code which lets no other thread run.
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
    # Logging is not used, because the stuck thread may hold its lock. The alarm bounds the report, because stderr may
    # be a pipe that is full.
    signal.alarm(REPORT_S)
    os.write(2, f"watchdog: the event loop has not turned for {limit_s:g} s; this process ends\n".encode())
    faulthandler.dump_traceback(file=2, all_threads=True)
    os._exit(STALLED_STATUS)
