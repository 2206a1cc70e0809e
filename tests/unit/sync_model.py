"""A model of a log's server, and a reader of it that a test moves by hand: what the tests of `log_sync` share."""

from collections.abc import Coroutine, Generator
from typing import Any

import pytest

from midstream.hub.log_sync import PAGE_ENTRIES, LogSync
from midstream.hub.segment import index_of
from midstream.hub.window import Window
from midstream.log.entries import Stored
from midstream.log.errors import LogUnavailable
from midstream.log.state import State

END = b'e{"outcome":"completed"}'


class Pause:
    """Hands control back to the test, in the middle of a read."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Server:
    """A log, and a reader of it that a test moves by hand."""

    def __init__(self) -> None:
        self.history: list[Stored] = []
        self.epoch = 1
        self.exists = True
        self.restarts = 0

    @property
    def ended(self) -> bool:
        return bool(self.history) and self.history[-1].content == END

    def append(self, *contents: bytes) -> list[Stored]:
        first = len(self.history) + 1
        entries = [Stored(offset, self.epoch, content) for offset, content in enumerate(contents, first)]
        self.history += entries
        return entries

    async def read_page(self, after: int) -> tuple[State | None, list[Stored]]:
        restarts = self.restarts
        await Pause()  # the command is on its way
        if restarts != self.restarts:
            raise LogUnavailable("the connection broke")
        state = State(tail=len(self.history), status="ended" if self.ended else "running") if self.exists else None
        page = self.history[after : after + PAGE_ENTRIES]
        await Pause()  # the reply is on its way
        return state, page


class Reader:
    """A sync, a reading task that is moved by hand, and a tail that is sent what becomes known."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.window = Window(10_000_000)
        self.sync = LogSync("s", server.read_page, self.window, self._start_reading, self._start_over)
        self.reading: Coroutine[Any, Any, bool] | None = None
        self.sent: list[Stored] = []
        self.resets = 0
        self.reads = 0
        self._start_reading()

    def offer(self, entries: list[Stored]) -> None:
        if self.sync.offer(entries):
            self.pump()

    def step(self) -> None:
        """Move the read by one step; one that failed begins again, as the follower's does."""
        assert self.reading is not None
        reading = self.reading
        try:
            reading.send(None)
        except StopIteration as done:
            if self.reading is reading:
                self.reading = None
            if done.value:
                self.pump()
        except LogUnavailable:
            self._start_reading()

    def settle(self) -> None:
        for _ in range(100):
            if self.reading is None:
                return
            self.step()
        pytest.fail("it reads and reads")

    def pump(self) -> None:
        while len(self.sent) < self.sync.tail:
            segment = self.window.get("s", index_of(len(self.sent) + 1))
            assert segment is not None
            entry = segment.entry_at(len(self.sent) + 1)
            assert entry is not None
            self.sent.append(entry)

    def _start_reading(self) -> None:
        self.reads += 1
        self.reading = self.sync.refresh()

    def _start_over(self) -> None:
        self.resets += 1
        self.sent.clear()
