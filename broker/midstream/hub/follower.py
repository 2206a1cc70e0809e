"""One process's readers of one stream: its tails, those who wait for a milestone, and the segments that tails need."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from midstream import counters
from midstream.access.grant import Grant
from midstream.faces.face import Face
from midstream.hub.frames import Frames
from midstream.hub.lagging import Lagging
from midstream.hub.log_sync import PAGE_ENTRIES, PAGE_SEGMENTS, LogSync, Phase
from midstream.hub.paced import paced
from midstream.hub.segment import Segment, start_of
from midstream.hub.tail import Tail
from midstream.hub.tenant_counts import TenantCounts
from midstream.hub.wait import Milestone, Wait
from midstream.hub.window import Window
from midstream.log.entries import Stored
from midstream.log.errors import LogError
from midstream.log.keys import tenant_of
from midstream.log.log import Log
from midstream.log.many import Extent
from midstream.log.state import State

logger = logging.getLogger(__name__)

_STARTED: Final = counters.tally("tails_opened", "start")
_RESUMED: Final = counters.tally("tails_opened", "resume")
_REPLAYS: Final = counters.tally("replays")
RETRY_S: Final = 0.25
"""Wait before the log is read again after Redis did not answer, or refused."""


class Follower:
    """Moves a stream's tails when its log grows, and does the reading that they and `sync` ask for.

    It is open as long as it has a pin or a tail (`Hub.pinned`).

    Attributes:
        sync: The stream's log as this process knows it.
        frames: What tails are sent of it.
        lagging: The clients of this process that lag.
        opening: The task that opens it, and returns what made that fail; None once that is done.
        tails: Those that read it.
        waits: Those that wait for a milestone.
    """

    def __init__(
        self,
        stream_id: str,
        log: Log,
        window: Window,
        lagging: Lagging,
        close_follower: Callable[["Follower"], None],
        release_follower: Callable[["Follower"], None],
        tenant_tails: TenantCounts,
    ) -> None:
        self.stream_id = stream_id
        self.lagging = lagging
        self.sync = LogSync(stream_id, self._read_page, window, self._start_reading, self._start_over)
        self.frames = Frames(self.sync, window)
        self.opening: asyncio.Task[LogError | None] | None = None
        self.tails: set[Tail] = set()
        self.waits: set[Wait] = set()
        self._log = log
        self._window = window
        self._close_follower = close_follower
        self._release_follower = release_follower
        self._tenant = tenant_of(stream_id)
        self._tenant_tails = tenant_tails
        self._pins = 0
        self._waiting: dict[int, set[Tail]] = {}  # tails per segment that is being read
        self._reading: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def tail(self) -> int:
        """The last offset known here."""
        return self.sync.tail

    @property
    def first(self) -> int:
        """The first offset that the log still keeps."""
        return self.sync.first

    @property
    def ended(self) -> bool:
        """Whether the terminal entry is at `tail`."""
        return self.sync.ended

    @property
    def state(self) -> State:
        """The stream's state as last read; `tail` and `ended` are fresher."""
        return self.sync.state

    @property
    def extent(self) -> Extent:
        """How far the log goes, as far as is known here."""
        return Extent(self.sync.state.epoch, self.sync.first, self.sync.tail)

    @property
    def closed(self) -> bool:
        """Nothing arrives here any more; follow the stream anew."""
        return self.sync.phase is Phase.CLOSED

    def pin(self) -> None:
        """Keep the follower open until `unpin`, as a tail does that has joined."""
        self._pins += 1

    def unpin(self) -> None:
        """Take a pin back."""
        self._pins -= 1
        self._close_if_unused()

    def join(
        self,
        face: Face[Any],
        after: int,
        until: int | None = None,
        *,
        mark: tuple[int, bytes] | None = None,
        pace: float | None = None,
    ) -> Tail:
        """Add a tail that reads after offset `after`; it sends nothing before `Tail.begin`.

        With a `pace` it is sent so many characters of text a second.
        """
        tail = Tail(self, face, after, until, mark) if pace is None else paced(self, pace, face, after, until, mark)
        return self.add(tail)

    def add(self, tail: Tail) -> Tail:
        """Add a tail that reads here."""
        (_RESUMED if tail.cursor else _STARTED).number += 1
        if tail.cursor < self.sync.tail:
            _REPLAYS.number += 1
        self.tails.add(tail)
        self._tenant_tails.add(self._tenant)
        return tail

    def leave(self, tail: Tail) -> None:
        """Remove a tail."""
        if tail in self.tails:
            self.tails.remove(tail)
            self._tenant_tails.remove(self._tenant)
        self._close_if_unused()

    def offer(self, entries: list[Stored]) -> bool:
        """Take a publication; return whether the tail moved, so that `pump` has something to do."""
        return self.sync.offer(entries)

    def pump(self) -> None:
        """Move every tail, and end the waits that have come to their milestone."""
        self._for_each(self.tails, Tail.pump)
        for wait in [wait for wait in self.waits if self._has_come_to(wait.milestone)]:
            wait.finish()

    async def wait_for(self, milestone: Milestone, grant: Grant | None = None) -> None:
        """Return once the stream has come to the milestone, or nothing more will come of it from here.

        The latter is so when the stream is gone, could not be followed any further, this process stops, or the
        caller's `grant` is over. The caller holds the follower (`Hub.pinned`), and looks at the stream's state and
        at the grant to know which it was.
        """
        if self.closed or self._has_come_to(milestone):
            return
        wait = Wait(milestone, grant)
        self.waits.add(wait)
        try:
            await wait.over
        finally:
            self.waits.discard(wait)

    async def catch_up(self) -> None:
        """Read what publications may have been missed, and wait until that is done."""
        self.sync.mark_stale()
        while self._reading is not None and self.sync.phase in (Phase.READING, Phase.STALE):
            await asyncio.wait((self._reading,))

    def beat(self, beats_of_silence: int) -> None:
        """One of the hub's beats: let each tail's pass, and drop the chunks, for which nobody may ask again."""
        self.frames.drop_chunks()
        self._for_each(self.tails, lambda tail: tail.beat(beats_of_silence))

    def forget(self, reason: str) -> None:
        """The stream is gone: tell every tail, and close."""
        self._for_each(self.tails, lambda tail: tail.dismiss(reason))
        self._close_follower(self)

    def stop(self) -> list[asyncio.Task[Any]]:
        """Drop all memory and end all waits; return the background tasks that were cancelled."""
        self.sync.close()
        self.frames.clear()
        for wait in self.waits:
            wait.finish()
        tasks = [task for task in (*self._tasks, self.opening) if task and task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        return tasks

    def load(self, index: int, tail: Tail) -> None:
        """Read a segment from the log, once for all tails that wait for it; then pump them."""
        if index not in self._waiting:
            self._waiting[index] = set()
            self.run(lambda: self._load(index))
        self._waiting[index].add(tail)

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Run work that ends with the follower; return its task, which calls it: one that never began awaits none."""
        task = asyncio.create_task(self._watched(work), name=f"follower {self.stream_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watched(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do work that the tails need; if it fails in an unknown way, they are cut, and their clients come back."""
        try:
            await work()
        except Exception:
            logger.exception(
                "%s could not be followed any further; its tails are cut",
                self.stream_id,
                extra={"stream": self.stream_id},
            )
            self._for_each(self.tails, Tail.fail)
            self._close_follower(self)

    def _for_each(self, tails: Collection[Tail], do: Callable[[Tail], None]) -> None:
        """Do something with each tail. One tail's failure never reaches another."""
        for tail in tuple(tails):
            try:
                do(tail)
            except Exception:
                logger.exception("a tail of %s failed and is closed", self.stream_id, extra={"stream": self.stream_id})
                tail.fail()

    def _has_come_to(self, milestone: Milestone) -> bool:
        return self.sync.ended or (milestone is Milestone.FIRST_WORD and self.sync.has_word)

    def _close_if_unused(self) -> None:
        """Have the follower closed if it has neither tail nor pin.

        That is decided a turn of the loop later, because functions of the follower may still be at work in this one.
        """
        if not self.tails and not self._pins:
            asyncio.get_running_loop().call_soon(self._close_now_if_unused)

    def _close_now_if_unused(self) -> None:
        if not self.tails and not self._pins:
            self._release_follower(self)

    @property
    def may_rest(self) -> bool:
        """Whether nobody uses it, and nothing that it knows can be outdated by a publication."""
        is_at_work = any(not task.done() for task in self._tasks)  # a task that has just sent the last entries is done
        is_unused = not (self.tails or self.waits or self._pins or is_at_work)
        return is_unused and self.sync.ended and self.sync.phase is Phase.FOLLOWING

    def rest(self) -> None:
        """Keep what was read and made, until another reader comes or `stop` is called."""
        self.sync.rest()
        self.frames.drop_chunks()

    async def _read_page(self, after: int) -> tuple[State | None, list[Stored]]:
        return await self._log.read_together(self.stream_id, after, PAGE_ENTRIES)

    def _start_reading(self) -> None:
        self._reading = self.run(self._read)

    async def _read(self) -> None:
        """Bring `sync` up to date and move the tails, however long Redis does not answer."""
        while True:
            try:
                exists = await self.sync.refresh()
            except LogError as error:
                name = self.stream_id
                logger.debug("%s could not be read, and will be again: %s", name, error, extra={"stream": name})
                await asyncio.sleep(RETRY_S)
                continue
            if exists:
                self.pump()
            else:
                self.forget("gone")
            return

    def _start_over(self) -> None:
        """The log was rewritten: every tail that was sent any of it will tell its client to forget it."""
        self.frames.clear()
        self._for_each([tail for tail in self.tails if tail.cursor], lambda tail: tail.restart("rewritten"))

    async def _load(self, index: int) -> None:
        start = start_of(index)
        page: list[Stored] = []
        try:
            state, page = await self._log.read(self.stream_id, start - 1, PAGE_ENTRIES)
        except LogError as error:
            logger.debug(
                "%s could not be read, and will be again: %s", self.stream_id, error, extra={"stream": self.stream_id}
            )
            state = self.state
        if not page:
            await asyncio.sleep(RETRY_S)
        waiting = self._waiting.pop(index)
        if state is None or (page and page[0].offset != max(start, self.first)):
            # Deleted, expired or trimmed under the tail (docs/findings.md: Redis. XTRIM is silent for readers).
            self._for_each(waiting, lambda tail: tail.dismiss("gone"))
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
