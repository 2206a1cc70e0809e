"""What a process knows of one stream's log, kept in step with it. The log itself is a function that reads a page.

Theory of operation
-------------------
The log is the truth, and publications are news of it. A publication holds the entries of one append. Publications come
in order, but some may be missing: those before the subscription, those of the time when the feed's connection was away,
those that a dying server did not send. So a publication is taken only if it begins right after the tail. Anything else
is a reason to read the log. While it is read, publications are kept, and are offered again after what was read: none is
missed, and none is taken twice.

The log may also have been rewritten: a server that lost writes has another history from some offset on. Then what was
read contradicts what is known here, everything is forgotten, and the log is read from its start.

| phase             | event                                                | next phase | what is done              |
|-------------------|------------------------------------------------------|------------|---------------------------|
| READING           | a read of the log begins                             | READING    | what was kept is dropped: |
| STALE             |                                                      |            | the read will find it     |
| READING, STALE    | a publication comes                                  | the same   | it is kept                |
| READING, STALE    | one comes for which there is no room                 | STALE      |                           |
| READING, STALE    | publications may have been missed                    | STALE      |                           |
| READING           | what was read is applied                             | FOLLOWING  | what was kept is offered  |
| STALE             | what was read is applied                             | READING    | a reading task is started |
| READING, STALE    | the read fails                                       | the same   | another one begins        |
| FOLLOWING         | a publication begins right after the tail            | FOLLOWING  | it is taken               |
| FOLLOWING         | a publication holds what is known                    | FOLLOWING  |                           |
| FOLLOWING         | a publication leaves a gap, or contradicts           | READING    | a reading task is started |
| FOLLOWING         | publications may have been missed                    | READING    | a reading task is started |
| FOLLOWING         | nobody reads the ended stream any more               | READING    | the next reader reads     |
| any               | the follower closes                                  | CLOSED     |                           |
| CLOSED            | anything                                             | CLOSED     |                           |

A sync begins as READING, and its owner reads the log first. `TRANSITIONS` is this table; nothing else sets the phase.
"""

import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final

from midstream.hub.segment import SEGMENT_ENTRIES, index_of, start_of
from midstream.hub.window import Window
from midstream.log.entries import Stored, is_end, is_word
from midstream.log.state import State

logger = logging.getLogger(__name__)

PAGE_SEGMENTS: Final = 4
PAGE_ENTRIES: Final = PAGE_SEGMENTS * SEGMENT_ENTRIES
"""Read from the log at once: about 2 ms of everybody's time."""
MAX_KEPT: Final = 1_000
"""Publications that are kept while the log is being read; after what comes beyond that, the log is read again."""

ReadPage = Callable[[int], Awaitable[tuple[State | None, list[Stored]]]]
"""Reads the state (None: there is no such stream) and up to `PAGE_ENTRIES` entries after an offset, of one moment."""


class Phase(Enum):
    """What is being done about the log."""

    READING = auto()
    """The log is being read, or is about to be; publications are kept."""
    STALE = auto()
    """As READING, but something may have been missed since the read began: another one follows."""
    FOLLOWING = auto()
    """Publications are taken as they come."""
    CLOSED = auto()
    """Nothing arrives any more."""


class Event(Enum):
    """What moves a sync to another phase."""

    READ_BEGINS = auto()
    READ_APPLIED = auto()
    MISSED = auto()
    REST = auto()
    CLOSE = auto()


TRANSITIONS: Final = {
    (Phase.READING, Event.READ_BEGINS): Phase.READING,
    (Phase.STALE, Event.READ_BEGINS): Phase.READING,
    (Phase.READING, Event.READ_APPLIED): Phase.FOLLOWING,
    (Phase.STALE, Event.READ_APPLIED): Phase.READING,
    (Phase.READING, Event.MISSED): Phase.STALE,
    (Phase.STALE, Event.MISSED): Phase.STALE,
    (Phase.FOLLOWING, Event.MISSED): Phase.READING,
    (Phase.CLOSED, Event.MISSED): Phase.CLOSED,
    (Phase.FOLLOWING, Event.REST): Phase.READING,
    **{(phase, Event.CLOSE): Phase.CLOSED for phase in Phase},
}


class LogSync:
    """One stream's log as this process knows it; see the theory of operation above.

    `start_reading` has to see to it that `refresh` is called until it succeeds. `start_over` is called when all that
    was known has been forgotten, because the log was rewritten.

    Attributes:
        phase: What is being done about the log.
        tail: The last offset that is known.
        first: The first offset that the log still keeps.
        ended: Whether the terminal entry is at `tail`.
        has_word: Whether the source has said anything. `refresh` may skip the middle of a long log, but always reads
            its first page, and that holds a word by then.
        state: The stream's state as last read; `tail` and `ended` above are fresher.
    """

    def __init__(
        self,
        stream_id: str,
        read_page: ReadPage,
        window: Window,
        start_reading: Callable[[], None],
        start_over: Callable[[], None],
    ) -> None:
        self.stream_id = stream_id
        self.phase = Phase.READING
        self.tail = 0
        self.first = 1
        self.ended = False
        self.has_word = False
        self.state = State()
        self._read_page = read_page
        self._window = window
        self._start_reading = start_reading
        self._start_over = start_over
        self._last: Stored | None = None  # the entry at `tail`; its segment may have left the window
        self._kept: list[list[Stored]] = []  # publications that came since the read began

    def offer(self, entries: list[Stored]) -> bool:
        """Take a publication; return whether the tail moved."""
        if self.phase is not Phase.FOLLOWING:
            self._keep(entries)
            return False
        if entries[0].offset != self.tail + 1:  # the rare case
            if entries[0].offset > self.tail or self._is_contradicted_by(entries):
                self.mark_stale()
                return False
            if entries[-1].offset <= self.tail:
                return False
        self._take(entries)
        return True

    def mark_stale(self) -> None:
        """Note that publications may have been missed: the log is read, or once more where it is being read already."""
        was_following = self.phase is Phase.FOLLOWING
        self._move(Event.MISSED)
        if was_following:
            self._start_reading()

    async def refresh(self) -> bool:
        """Read what the log has more, and apply it; return whether the stream exists.

        Raises:
            LogError: Redis did not answer, or refused. The phase is the same, and what was applied stays.
        """
        self._move(Event.READ_BEGINS)
        self._kept.clear()
        state: State | None = None
        while state is None or self.tail < state.tail:
            before = self.tail
            # The last entry that is known is read again, at each page: is it still the same history?
            state, page = await self._read_page(max(0, self.tail - 1))
            if state is not None and state.tail < self.tail:  # the server lost writes: has another attempt gone on?
                state, page = await self._read_page(max(0, state.tail - 1))
            if state is None:
                return False
            is_another = self.tail > 0 and state.created_ms != self.state.created_ms
            self.state, self.first = state, state.first
            if is_another:  # deleted, and started again by the same key
                self._forget()
                continue
            # An attempt that still runs writes again what the server lost; of any other stream the log stays shorter.
            if self._is_contradicted_by(page) or (state.tail < self.tail and state.status != "running"):
                self._forget()
                continue
            self._take(page)
            if state.tail - self.tail > PAGE_ENTRIES:
                # What is between is read when a tail asks for it; the newest segment is wanted by all.
                _, page = await self._read_page(start_of(index_of(state.tail)) - 1)
                self._take(page)
            if self.tail == before:
                break
        self._move(Event.READ_APPLIED)
        kept, self._kept = self._kept, []
        if self.phase is Phase.READING:
            # It was stale: what was kept may go on after another history than the one that was read.
            self._start_reading()
        else:
            for entries in kept:
                self.offer(entries)
        return True

    def rest(self) -> None:
        """Know that no publication comes until `refresh` is called by the owner."""
        self._move(Event.REST)

    def close(self) -> None:
        """Take nothing any more.

        The owner's functions are dropped: held in a circle, both would stay until the garbage collector looks at old
        objects, which a broker has it do once in millions of allocations.
        """
        self._move(Event.CLOSE)
        self._kept.clear()
        self._window.forget(self.stream_id)
        self._read_page, self._start_reading, self._start_over = _read_nothing, _do_nothing, _do_nothing

    def _move(self, event: Event) -> None:
        self.phase = TRANSITIONS[self.phase, event]

    def _keep(self, entries: list[Stored]) -> None:
        if len(self._kept) < MAX_KEPT and self.phase is not Phase.CLOSED:
            self._kept.append(entries)
        else:
            self.mark_stale()

    def _take(self, entries: list[Stored]) -> None:
        if not entries:
            return
        news = entries if entries[0].offset > self.tail else [entry for entry in entries if entry.offset > self.tail]
        if news:
            self._window.extend(self.stream_id, news)
            self._last = last = news[-1]
            self.tail = last.offset
            self.ended = is_end(last.content)
            self.has_word = self.has_word or any(is_word(entry.content) for entry in news)

    def _is_contradicted_by(self, entries: list[Stored]) -> bool:
        """Tell whether these entries contradict what is known (PROTOCOL: Read/Rewritten).

        After a server lost writes, the same attempt writes the same entries again; but another attempt, or
        the reaper, may have gone on where the shorter log ended.
        """
        for entry in entries:
            if entry.offset > self.tail:
                return False
            if entry.offset == self.tail:
                same_offset = self._last
            else:
                segment = self._window.get(self.stream_id, index_of(entry.offset))
                same_offset = segment.entry_at(entry.offset) if segment else None
            if same_offset not in (None, entry) or (is_end(entry.content) and not self.ended):
                return True
        return False

    def _forget(self) -> None:
        logger.warning(
            "the log of %s was rewritten; its tails start over", self.stream_id, extra={"stream": self.stream_id}
        )
        self._window.forget(self.stream_id)
        self.tail, self.ended, self.has_word, self._last = 0, False, False, None
        self._start_over()


async def _read_nothing(_after: int) -> tuple[State | None, list[Stored]]:
    return None, []


def _do_nothing() -> None: ...
