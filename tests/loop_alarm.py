"""Notices an event loop that stands still, which no time-out of asyncio can."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_after(limit_s: float) -> Iterator[None]:
    """Fail where the loop itself stands still, which no time-out of asyncio can see."""

    def fail(*_: object) -> None:
        raise AssertionError(f"the event loop did not turn for {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, limit_s, 0.1)  # again and again: more than one coroutine may be stuck
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
