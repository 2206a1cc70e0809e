"""Turns deltas into entries on the log; each attempt has one flusher, so that a slow append delays no delta."""

import asyncio
import contextlib
import time
from typing import Final

from midstream import counters
from midstream.attempts.attempt import Attempt
from midstream.attempts.batcher import Batcher
from midstream.attempts.delta import Delta, Finish, SourceError, Upstream, Usage
from midstream.attempts.delta_entry import entry_of
from midstream.attempts.replay import Replay
from midstream.log.entries import END, Entry, encode
from midstream.log.errors import LogFull

ROOM_BYTES: Final = 1_048_576
"""How much may wait for Redis; beyond that, the source has to wait too."""

EMPTY_LOG_BYTES: Final = 8_192
"""A log with hardly anything in it may take so much memory."""


class WriterStoppedError(Exception):
    """Nothing is appended any more, because the stream ends."""

    def __init__(self) -> None:
        super().__init__("The stream ends, and nothing more is appended to it.")


class Writer:
    """Batches an attempt's entries and appends them in order.

    Entries of a resumable upstream (`hold`) are held back until the upstream's position after them is known: an entry
    on the log without that cursor would be read a second time by a re-attachment.

    Attributes:
        finish: The finish reason that the source reported, if it did so already.
        usage: The usage that the source reported, if it did so already.
        first_ms: When the first entry came, by the server's clock.
        replay: What an app that is run again has yielded before; None: it is none.
        hold: Whether entries are held back until the upstream's position is known.
        flusher: The task that appends. It fails only with the error that ends the attempt.
    """

    def __init__(self, attempt: Attempt, batcher: Batcher, *, max_bytes: int, max_entries: int = 0) -> None:
        self.usage: dict[str, object] | None = None
        self.finish: str | None = None
        self.first_ms: int | None = None
        self._attempt = attempt
        self._batcher = batcher
        self.hold = False
        self.replay: Replay | None = None
        self._held: list[Entry] = []
        # What earlier attempts have written is in the same log.
        self._left_bytes = max_bytes - max(0, attempt.state.log_bytes - EMPTY_LOG_BYTES)
        self._max_entries = max_entries
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._full = asyncio.Event()
        self._stopping = False
        self._waiters: list[asyncio.Future[None]] = []
        self._is_durable = False
        self.flusher = asyncio.create_task(self._flush(), name=f"writer {attempt.stream_id}")

    async def put(self, delta: Delta) -> None:
        """Take a delta; wait only while more than `ROOM_BYTES` wait for Redis.

        Raises:
            SourceError: `output_too_large`.
        """
        if self.replay is not None:
            await self._put_again(delta)
            return
        match delta:
            case Upstream(cursor=cursor):
                self._commit()
                if cursor is not None:
                    self._batcher.mark(cursor)
                return
            case Finish(reason):
                self.finish = reason
                self._commit()
                return
            case Usage():
                entry = entry_of(delta)
                self.usage = entry.data
            case _:
                entry = entry_of(delta)
        if self.first_ms is None:
            self.first_ms = self._attempt.now_ms
        self._held.append(entry)
        if not self.hold:
            self._commit()
        await self._room.wait()

    async def _put_again(self, delta: Delta) -> None:
        """Take a delta of an app that is run again."""
        replay, self.replay = self.replay, None
        assert replay is not None  # noqa: S101
        if isinstance(delta, Usage):
            self.usage = entry_of(delta).data  # its entry may be on the log already
        for each in replay.take(delta):
            await self.put(each)
        self.replay = replay

    async def put_through(self, entry: Entry, *, durably: bool = False) -> None:
        """Append all that waits and then an entry; return when they are on the log, or `durably` on the server's disk.

        Raises:
            SourceError: `output_too_large`.
            WriterStoppedError: The stream ends, and the entry may be on the log or not.
            StaleEpoch, StreamSealed, StreamAbsent: The stream is no longer ours.
            LogFull: The server stays out of memory.
        """
        if self._stopping or self.flusher.done():
            raise WriterStoppedError
        self._held.append(entry)
        self._commit()
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._is_durable = self._is_durable or durably
        self._wake.set()
        self._full.set()
        await asyncio.wait((waiter, self.flusher), return_when=asyncio.FIRST_COMPLETED)
        if not waiter.done():
            if not self.flusher.cancelled() and (error := self.flusher.exception()) is not None:
                raise error
            raise WriterStoppedError

    async def end(self, entry: Entry, outcome: str) -> None:
        """Write everything that is left and then the terminal entry.

        Raises:
            StaleEpoch, StreamSealed, StreamAbsent: The stream is no longer ours.
            LogFull: The server stays out of memory.
        """
        assert entry.type == END  # noqa: S101 - I3, where it is written
        await self._stop()
        for held in self._held:
            self._batcher.add(held, 0.0)
        batch = self._batcher.take()
        await self._attempt.seal([*batch.contents, encode(entry)], outcome)

    async def close(self) -> None:
        """Write all that is not held and stop; the stream stays open for the next attempt.

        Entries that are held are dropped, because the next attempt reads them again.
        """
        await self._stop()
        batch = self._batcher.take()
        if batch.contents:
            await self._attempt.append(batch.contents, batch.cursor)

    async def _stop(self) -> None:
        """Let the flusher finish the append that is under way."""
        self._stopping = True
        self._wake.set()
        self._full.set()
        with contextlib.suppress(LogFull):  # a full server may still take the terminal entry
            await self.flusher

    @property
    def is_due(self) -> bool:
        """Whether a batch could leave now, if the event loop turned."""
        return self._full.is_set()

    def open_room(self) -> None:
        """Let a waiting `put` go on, because nothing more will be written of it."""
        self._room.set()

    def drop(self) -> None:
        """Stop and write nothing more."""
        self.flusher.cancel()

    def _commit(self) -> None:
        now_ms = time.monotonic() * 1000
        for entry in self._held:
            before = self._batcher.size_bytes
            self._batcher.add(entry, now_ms)
            self._left_bytes -= self._batcher.size_bytes - before
        self._held.clear()
        if self._left_bytes < 0:
            counters.count("limit_exceeded", "stream", "bytes")
            raise SourceError("output_too_large", "The output is larger than MIDSTREAM_MAX_OUTPUT_BYTES.")
        if 0 < self._max_entries < self._attempt.tail + self._batcher.entries:
            counters.count("limit_exceeded", "stream", "entries")
            raise SourceError("output_too_large", "The output has more entries than MIDSTREAM_STREAM_ENTRIES.")
        if self._batcher.size_bytes > ROOM_BYTES:
            self._room.clear()
        if self._batcher.size_bytes:
            self._wake.set()
            if self._batcher.due_in_ms(now_ms) == 0:
                self._full.set()

    async def _flush(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            await self._until_due()
            if not self._stopping:
                self._wake.clear()
                self._full.clear()
                batch = self._batcher.take()
                waiters, self._waiters = self._waiters, []
                is_durable, self._is_durable = self._is_durable, False
                self._room.set()
                if is_durable:
                    await self._attempt.append_durably(batch.contents)
                elif batch.contents:
                    await self._attempt.append(batch.contents, batch.cursor)
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(None)

    async def _until_due(self) -> None:
        due_in_ms = self._batcher.due_in_ms(time.monotonic() * 1000)
        if due_in_ms and not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_in_ms / 1000):
                    await self._full.wait()
