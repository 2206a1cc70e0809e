"""Who reads threads in this process, and is woken by the start of the next stream (PROTOCOL: Threads/Events)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from midstream.access.grant import Grant
from midstream.log.feed import Feed


class ThreadWait:
    """One reader of a thread.

    It is there as long as its reader is, so the end of a credential or of the process finds it between two streams too.

    Attributes:
        channel: Where each new stream of the thread is published.
        grant: What it was let in by, if that can end before the reader does.
        is_listening: Whether its reader waits for the next stream.
        woken: Set where there may be news: a stream was started, or the reader is to end.
        retry_ms: When its client is to come back; None: this process does not stop.
        refusal: Why its credential is over; None: it is not.
    """

    __slots__ = ("channel", "grant", "is_listening", "refusal", "retry_ms", "woken")

    def __init__(self, channel: str, grant: Grant | None) -> None:
        self.channel = channel
        self.grant = grant
        self.is_listening = False
        self.woken = asyncio.Event()
        self.retry_ms: int | None = None
        self.refusal: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether the reader is to end."""
        return self.retry_ms is not None or self.refusal is not None

    def part(self, retry_ms: int) -> None:
        """Have the reader end, because this process stops."""
        self.retry_ms = retry_ms
        self.woken.set()

    def refuse(self, reason: str) -> None:
        """Have the reader end, because its credential is over."""
        self.refusal = reason
        self.woken.set()


class ThreadWaits:
    """All of them, over the feed of the process, whose listeners are by channel.

    Attributes:
        all: Those that there are.
    """

    def __init__(self, feed: Feed, listeners: dict[str, Callable[[bytes], None]]) -> None:
        self.all: set[ThreadWait] = set()
        self._feed = feed
        self._listeners = listeners

    def open(self, channel: str, grant: Grant | None) -> ThreadWait:
        """Return a new wait, which the caller closes."""
        wait = ThreadWait(channel, grant)
        self.all.add(wait)
        return wait

    def close(self, wait: ThreadWait) -> None:
        """Forget a wait."""
        self.all.discard(wait)

    @asynccontextmanager
    async def listening(self, wait: ThreadWait) -> AsyncIterator[None]:
        """Have a wait woken by each message of its channel from now on.

        Raises:
            LogUnavailable: Redis did not confirm it in time.
        """
        channel = wait.channel
        wait.is_listening = True
        try:
            self._listeners[channel] = lambda _: self.wake(channel)
            await self._feed.subscribe(channel)
            yield
        finally:
            wait.is_listening = False
            if not any(each.is_listening and each.channel == channel for each in self.all):
                self._listeners.pop(channel, None)
                self._feed.unsubscribe(channel)

    def wake(self, channel: str | None = None) -> None:
        """Wake those that wait for a channel; None: everybody, because messages may have been missed."""
        for wait in self.all:
            if channel in (None, wait.channel):
                wait.woken.set()
