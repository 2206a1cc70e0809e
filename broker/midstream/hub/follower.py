"""One process's view of one stream: its tail, the segments in memory, and the tails that read it."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from midstream.faces.face import Face
from midstream.hub.frames import Frames
from midstream.hub.lagging import Lagging
from midstream.hub.segment import SEGMENT_ENTRIES, Segment, index_of, start_of
from midstream.hub.tail import Tail
from midstream.hub.wait import Milestone, Wait
from midstream.hub.window import Window
from midstream.log.entries import Stored, is_end, is_word
from midstream.log.errors import LogError
from midstream.log.log import Log
from midstream.log.state import State

logger = logging.getLogger(__name__)

PAGE_SEGMENTS: Final = 4
PAGE_ENTRIES: Final = PAGE_SEGMENTS * SEGMENT_ENTRIES
"""Read from the log at once: about 2 ms of everybody's time."""
RETRY_S: Final = 0.25
"""Wait before the log is read again after Redis did not answer, or refused."""
MAX_PENDING: Final = 1_000
"""Publications that are kept while the log is being read; what came after them is read from the log again."""


class Follower:
    """Takes publications, fills gaps from the log, and moves its tails.

    Attributes:
        tail: The last offset known here.
        first: The first offset that the log still keeps.
        frames: What tails are sent of it.
        lagging: Who is behind in this process.
        ended: Whether the terminal entry is at `tail`.
        closed: Nothing arrives here any more; open the stream again.
        state: The state as last read; `tail` and `ended` above are fresher.
        opening: The task that opens it; None once that is done.
        tails: Those that read it.
        waits: Those that wait for a milestone.
    """

    def __init__(
        self, stream_id: str, log: Log, window: Window, lagging: Lagging, on_idle: Callable[["Follower"], None]
    ) -> None:
        self.stream_id = stream_id
        self.state = State()
        self.tail = 0
        self.first = 1
        self.ended = False
        self.closed = False
        self.opening: asyncio.Task[None] | None = None
        self.lagging = lagging
        self.frames = Frames(stream_id, window)
        self.tails: set[Tail] = set()
        self.waits: set[Wait] = set()
        self._has_word = False
        self._log = log
        self._window = window
        self._on_idle = on_idle
        self._pending: list[list[Stored]] | None = []  # publications that came while the log is being read
        self._waiting: dict[int, set[Tail]] = {}  # tails per segment that is being read
        self._filling: asyncio.Task[None] | None = None
        self._again = False  # something may have been missed since the log was read
        self._tasks: set[asyncio.Task[None]] = set()
        self._astray: set[Tail] = set()  # tails that were sent a history that is no longer the log's
        self._pins = 0

    def pin(self) -> None:
        """Keep the follower open until `unpin`, as a tail does that has joined."""
        self._pins += 1

    def unpin(self) -> None:
        """Take a pin back."""
        self._pins -= 1
        self._close_if_unused()

    def keep_publications(self) -> None:
        """Keep publications until the next `refresh` has read what came before them."""
        if self._pending is None:
            self._pending = []

    async def refresh(self) -> bool:
        """Read state and tail from the log; return whether the stream exists.

        Publications that arrive meanwhile are kept and applied behind what was read, so none is missed.

        Raises:
            LogError: Redis did not answer, or refused; nothing changed.
        """
        self.keep_publications()
        # The last entry that we know is read again: is it still the same history?
        state, page = await self._log.read(self.stream_id, max(0, self.tail - 1), PAGE_ENTRIES)
        if state is not None and state.tail < self.tail:  # the server lost writes: has another attempt gone on since?
            state, page = await self._log.read(self.stream_id, max(0, state.tail - 1), PAGE_ENTRIES)
        if state is None:
            return False
        if self._rewritten(page) or (state.tail < self.tail and state.status != "running"):
            self._start_over()
            _, page = await self._log.read(self.stream_id, 0, PAGE_ENTRIES)
        self.state = state
        self.first = self.frames.first = state.first
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
        self._for_each(self._astray & self.tails, lambda tail: tail.restart("rewritten"))
        self._astray.clear()
        for entries in pending or ():
            self.offer(entries)
        if self._again:
            self.catch_up()
        return True

    def offer(self, entries: list[Stored]) -> bool:
        """Take a publication and return whether the tail moved; a gap before it is read from the log."""
        if self._pending is not None:
            if len(self._pending) < MAX_PENDING:
                self._pending.append(entries)
            else:
                self._again = True
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
            self.keep_publications()
            self._filling = self.run(self._fill())

    async def caught_up(self) -> None:
        """Catch up, and wait until that is done; a read that was under way may have come too early."""
        self.catch_up()
        filling = None
        while filling is not self._filling:
            filling = self._filling
            if filling is not None:
                await asyncio.wait((filling,))

    def pump(self) -> None:
        """Move every tail, and end the waits that have come to their milestone."""
        self._for_each(self.tails, Tail.pump)
        for wait in [wait for wait in self.waits if self._has_come_to(wait.milestone)]:
            wait.finish()

    async def wait_for(self, milestone: Milestone) -> None:
        """Return once the stream has come to the milestone, or nothing more will come of it from here.

        The latter is so when the stream is gone, could not be followed any further, or this process stops. The caller
        holds the follower (`Hub.follow`), and looks at the stream's state to know which it was.
        """
        if self.closed or self._has_come_to(milestone):
            return
        wait = Wait(milestone)
        self.waits.add(wait)
        try:
            await wait.over
        finally:
            self.waits.discard(wait)

    def _has_come_to(self, milestone: Milestone) -> bool:
        return self.ended or (milestone is Milestone.FIRST_WORD and self._has_word)

    def _for_each(self, tails: Collection[Tail], do: Callable[[Tail], None]) -> None:
        """Do something with each tail. One tail's failure never reaches another."""
        for tail in tuple(tails):
            try:
                do(tail)
            except Exception:
                logger.exception("a tail of %s failed and is closed", self.stream_id)
                tail.fail()

    def beat(self, beats_of_silence: int) -> None:
        """One of the hub's beats: let each tail's pass, and let go of chunks that nobody may ask for again."""
        self.frames.let_go()
        self._for_each(self.tails, lambda tail: tail.beat(beats_of_silence))

    def join(
        self, face: Face[Any], after: int, until: int | None = None, *, mark: tuple[int, bytes] | None = None
    ) -> Tail:
        """Add a tail that reads after offset `after`; it sends nothing before `Tail.begin`."""
        tail = Tail(self, face, after, until, mark)
        self.tails.add(tail)
        return tail

    def leave(self, tail: Tail) -> None:
        """Remove a tail."""
        self.tails.discard(tail)
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        """Have the follower closed once it has neither tail nor pin.

        That is decided a turn of the loop later, because functions of the follower may still be at work in this one.
        """
        if not self.tails and not self._pins:
            asyncio.get_running_loop().call_soon(self._close_now_if_unused)

    def _close_now_if_unused(self) -> None:
        if not self.tails and not self._pins:
            self._on_idle(self)

    def load(self, index: int, tail: Tail) -> None:
        """Read a segment from the log, once for all tails that wait for it; then pump them."""
        if index not in self._waiting:
            self._waiting[index] = set()
            self.run(self._load(index))
        self._waiting[index].add(tail)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run background work that ends with the follower; return its task."""
        task = asyncio.create_task(self._watched(work), name=f"follower {self.stream_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work that the tails live by: where it fails in a way that we do not know, they are cut and come back."""
        try:
            await work
        except Exception:
            logger.exception("%s could not be followed any further; its tails are cut", self.stream_id)
            self._for_each(self.tails, Tail.fail)
            self._on_idle(self)

    def stop(self) -> list[asyncio.Task[None]]:
        """Drop all memory; return the background tasks that were cancelled."""
        self.closed = True
        self._window.forget(self.stream_id)
        for wait in self.waits:
            wait.finish()
        tasks = [task for task in (*self._tasks, self.opening) if task and task is not asyncio.current_task()]
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
        self.frames.forget()
        self.tail, self.ended, self._has_word = 0, False, False
        self._astray = {tail for tail in self.tails if tail.cursor}

    def _extend(self, entries: list[Stored]) -> None:
        news = entries if entries[0].offset > self.tail else [entry for entry in entries if entry.offset > self.tail]
        if news:
            self._window.extend(self.stream_id, news)
            self.tail = news[-1].offset
            self.ended = is_end(news[-1].content)
            # Those who open the stream read its first page: a word that is there is seen.
            self._has_word = self._has_word or any(is_word(entry.content) for entry in news)

    async def _fill(self) -> None:
        while True:
            try:
                alive = await self.refresh()
            except LogError as error:
                logger.debug("%s could not be read, and will be again: %s", self.stream_id, error)
                await asyncio.sleep(RETRY_S)
                continue
            if alive:
                self.pump()
            else:
                self.forget("gone")
            return

    def forget(self, reason: str) -> None:
        """The stream is gone: tell every tail, and be opened no more."""
        self._for_each(self.tails, lambda tail: tail.forgotten(reason))
        self._on_idle(self)

    async def _load(self, index: int) -> None:
        start = start_of(index)
        page: list[Stored] = []
        try:
            state, page = await self._log.read(self.stream_id, start - 1, PAGE_ENTRIES)
        except LogError as error:
            logger.debug("%s could not be read, and will be again: %s", self.stream_id, error)
            state = self.state
        if not page:
            await asyncio.sleep(RETRY_S)
        waiting = self._waiting.pop(index)
        if state is None or (page and page[0].offset != max(start, self.first)):
            # Deleted, expired or trimmed under the tail (docs/findings.md: Redis. XTRIM is silent for readers).
            self._for_each(waiting, lambda tail: tail.forgotten("gone"))
            return
        segments = []
        for number in range(index, index + PAGE_SEGMENTS):
            entries = page[: max(0, start_of(number + 1) - page[0].offset)] if page else []
            if entries:
                segment = Segment(number, entries[0].offset)
                segment.extend(entries)
                segments.append(segment)
                page = page[len(entries) :]
        for segment in reversed(segments):  # the one that is waited for comes last: it stays, however small the window
            self._window.put(self.stream_id, segment)
        self._for_each(waiting, Tail.pump)
