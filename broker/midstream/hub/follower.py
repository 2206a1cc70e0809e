"""One process's view of one stream: its tail, the segments in memory, and the tails that read it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from midstream.faces.face import Face
from midstream.hub.segment import SEGMENT_ENTRIES, NotInMemory, Segment, index_of, start_of
from midstream.hub.tail import Tail
from midstream.hub.window import Window
from midstream.log.entries import Stored, is_end
from midstream.log.errors import LogUnavailable
from midstream.log.log import Log
from midstream.log.state import State

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 262_144
"""Size at which a chunk is handed to a sink rather than grown."""
PAGE_SEGMENTS: Final = 4
PAGE_ENTRIES: Final = PAGE_SEGMENTS * SEGMENT_ENTRIES
"""Read from the log at once: about 2 ms of everybody's time."""
RETRY_S: Final = 0.25
"""Wait before the log is read again after Redis did not answer."""


class Follower:
    """Takes publications, fills gaps from the log, and moves its tails.

    Attributes:
        tail: The last offset known here.
        first: The first offset that the log still keeps.
        ended: Whether the terminal entry is at `tail`.
        closed: Nothing arrives here any more; open the stream again.
        state: The state as last read; `tail` and `ended` above are fresher.
    """

    def __init__(self, stream_id: str, log: Log, window: Window, on_idle: Callable[["Follower"], None]) -> None:
        self.stream_id = stream_id
        self.state = State()
        self.tail = 0
        self.first = 1
        self.ended = False
        self.closed = False
        self.tails: set[Tail] = set()
        self._log = log
        self._window = window
        self._on_idle = on_idle
        self._pending: list[list[Stored]] | None = []  # publications that came while the log is being read
        self._waiting: dict[int, set[Tail]] = {}  # tails per segment that is being read
        self._filling: asyncio.Task[None] | None = None
        self._again = False  # something may have been missed since the log was read
        self._tasks: set[asyncio.Task[None]] = set()
        self._states: dict[tuple[Face, int], Any] = {}  # faces' states before segments
        self._chunks: dict[Face, tuple[tuple[int, int], bytes, int]] = {}  # each face's last chunk, and what was wanted
        self._astray: set[Tail] = set()  # tails that were sent a history that is no longer the log's

    def hold(self) -> None:
        """Keep publications until the next `refresh` has read what came before them."""
        if self._pending is None:
            self._pending = []

    async def refresh(self) -> bool:
        """Read state and tail from the log; return whether the stream exists.

        Publications that arrive meanwhile are kept and applied behind what was read, so none is missed.

        Raises:
            LogUnavailable: Redis did not answer; nothing changed.
        """
        self.hold()
        # The last entry that we know is read again: is it still the same history?
        state, page = await self._log.read(self.stream_id, max(0, self.tail - 1), PAGE_ENTRIES)
        if state is None:
            return False
        if self._rewritten(page) or (state.tail < self.tail and state.status != "running"):
            self._start_over()
            _, page = await self._log.read(self.stream_id, 0, PAGE_ENTRIES)
        self.state, self.first = state, state.first
        while page:
            self._extend(page)
            if self.tail >= state.tail:
                break
            after = self.tail
            if state.tail - after > PAGE_ENTRIES:
                # What lies between is read when a tail asks for it; the newest segment is wanted by all.
                after = start_of(index_of(state.tail)) - 1
            _, page = await self._log.read(self.stream_id, after, PAGE_ENTRIES)
        pending, self._pending = self._pending, None
        for tail in self._astray & self.tails:
            tail.restart("rewritten")
        self._astray.clear()
        for entries in pending or ():
            self.offer(entries)
        if self._again:
            self.catch_up()
        return True

    def offer(self, entries: list[Stored]) -> bool:
        """Take a publication and return whether the tail moved; a gap before it is read from the log."""
        if self._pending is not None:
            self._pending.append(entries)
            return False
        if entries[0].offset != self.tail + 1:  # as it nearly always is
            if entries[0].offset > self.tail or self._rewritten(entries):
                self.catch_up()
                return False
            if entries[-1].offset <= self.tail:
                return False
        self._extend(entries)
        return True

    def catch_up(self) -> None:
        """Read what publications may have been missed; once more, if the log is being read: that may be too early."""
        self._again = self._pending is not None
        if not self._again:
            self.hold()
            self._filling = self.run(self._fill())

    async def caught_up(self) -> None:
        """Catch up, and wait until that is done."""
        self.catch_up()
        if self._filling is not None:
            await asyncio.wait((self._filling,))

    def pump(self) -> None:
        """Move every tail. One tail's failure never reaches another."""
        for tail in tuple(self.tails):
            try:
                tail.pump()
            except Exception:
                logger.exception("a tail of %s failed and is closed", self.stream_id)
                tail.fail()

    def beat(self, beats_of_silence: int) -> None:
        """One of the hub's beats: let each tail's pass, and let go of chunks that nobody may ask for again."""
        self._chunks.clear()
        for tail in tuple(self.tails):
            tail.beat(beats_of_silence)

    def join(self, face: Face, after: int, until: int | None = None) -> Tail:
        """Add a tail that reads behind offset `after`; it sends nothing before `Tail.begin`."""
        tail = Tail(self, face, after, until)
        self.tails.add(tail)
        return tail

    def leave(self, tail: Tail) -> None:
        """Remove a tail; the last one out stops the follower."""
        self.tails.discard(tail)
        if not self.tails:
            self._on_idle(self)

    def chunk(self, face: Face, after: int, target: int) -> tuple[bytes, int]:
        """Return frames behind `after`, at most up to `target`, and the last offset in them.

        Raises:
            NotInMemory: An entry has to be read from the log first; see `load`.
        """
        # Tails move in step, those that keep up and those that replay: what one was given, the next one asks for.
        wanted = (after, target)
        last = self._chunks.get(face)
        if last is None or last[0] != wanted:
            last = self._chunks[face] = (wanted, *self._made(face, after, target))
        return last[1], last[2]

    def _made(self, face: Face, after: int, target: int) -> tuple[bytes, int]:
        parts: list[bytes] = []
        size = 0
        while after < target and size < CHUNK_BYTES:
            index = index_of(after + 1)
            segment = self._window.get(self.stream_id, index)
            if segment is None or not segment.first <= after + 1 <= segment.last:
                if parts:
                    break
                raise NotInMemory(index)
            upto = min(segment.last, target)
            frames = segment.frames(face, self._state_before(face, index), after, upto)
            parts += frames
            size += sum(map(len, frames))
            after = upto
        return (parts[0] if len(parts) == 1 else b"".join(parts)), after

    def _state_before(self, face: Face, index: int) -> Any:
        """Return a face's state before a segment, made from the nearest one before it that is known."""
        state = face.begin()
        if state is None:
            return None
        known, front = index, index_of(self.first)
        while known > front and (face, known) not in self._states:
            known -= 1
        state = self._states.get((face, known), state)
        for earlier in range(known, index):
            segment = self._window.get(self.stream_id, earlier)
            if segment is None:
                raise NotInMemory(earlier)
            state = self._states[face, earlier + 1] = segment.state_behind(face, state)
        return state

    def load(self, index: int, tail: Tail) -> None:
        """Read a segment from the log, once for all tails that wait for it; then pump them."""
        if index not in self._waiting:
            self._waiting[index] = set()
            self.run(self._load(index))
        self._waiting[index].add(tail)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run background work that ends with the follower; return its task."""
        task = asyncio.create_task(work, name=f"follower {self.stream_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self) -> list[asyncio.Task[None]]:
        """Drop all memory; return the background tasks that were cancelled."""
        self.closed = True
        self._window.forget(self.stream_id)
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        return tasks

    def _rewritten(self, entries: list[Stored]) -> bool:
        """Tell whether these entries contradict what we know (PROTOCOL: Read/Rewritten).

        After a server lost writes, the same attempt writes the same entries again; but another attempt, or
        the reaper, may have gone on where the shorter log ended.
        """
        for entry in entries:
            if entry.offset > self.tail:
                return False
            segment = self._window.get(self.stream_id, index_of(entry.offset))
            known = segment.known(entry.offset) if segment else None
            if known not in (None, entry) or (is_end(entry.content) and not self.ended):
                return True
        return False

    def _start_over(self) -> None:
        """Forget everything; every tail that was sent any of it tells its client to forget it too."""
        logger.warning("the log of %s was rewritten; its tails start over", self.stream_id)
        self._window.forget(self.stream_id)
        self._states.clear()
        self._chunks.clear()
        self.tail, self.ended = 0, False
        self._astray = {tail for tail in self.tails if tail.cursor}

    def _extend(self, entries: list[Stored]) -> None:
        news = entries if entries[0].offset > self.tail else [entry for entry in entries if entry.offset > self.tail]
        if news:
            self._window.extend(self.stream_id, news)
            self.tail = news[-1].offset
            self.ended = is_end(news[-1].content)

    async def _fill(self) -> None:
        while True:
            try:
                alive = await self.refresh()
            except LogUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            if alive:
                self.pump()
            else:
                self.forget("gone")
            return

    def forget(self, reason: str) -> None:
        """The stream is gone: tell every tail, and be opened no more."""
        for tail in tuple(self.tails):
            tail.forgotten(reason)
        self._on_idle(self)

    async def _load(self, index: int) -> None:
        start = start_of(index)
        page: list[Stored] = []
        try:
            state, page = await self._log.read(self.stream_id, start - 1, PAGE_ENTRIES)
        except LogUnavailable:
            state = self.state
        if not page:
            await asyncio.sleep(RETRY_S)
        waiting = self._waiting.pop(index)
        if state is None or (page and page[0].offset != max(start, self.first)):
            # Deleted, expired or trimmed under the tail (docs/findings.md: Redis. XTRIM is silent for readers).
            for tail in waiting:
                tail.forgotten("gone")
            return
        for number in range(index, index + PAGE_SEGMENTS):
            entries = page[: max(0, start_of(number + 1) - page[0].offset)] if page else []
            if entries:
                segment = Segment(number, entries[0].offset)
                segment.extend(entries)
                self._window.put(self.stream_id, segment)
                page = page[len(entries) :]
        for tail in waiting:
            tail.pump()
