"""What a stream's log tells of its course: attempts, waits, retries. Pure: it reads entries and asks nobody."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from midstream.log.entries import END, START, STATUS, USAGE, Json, Timed, decode, is_end, is_word

_KINDS: Final = (b"s", b"w", b"g", b"e")


@dataclass(frozen=True, slots=True)
class Start:
    """The beginning of an attempt."""

    epoch: int
    offset: int
    written_ms: int | None


@dataclass(frozen=True, slots=True)
class Retry:
    """A call that failed and is made again: why, when, and after which delay."""

    reason: str
    written_ms: int | None
    delay_ms: int
    number: int


@dataclass(slots=True)
class Course:
    """What the entries tell that were added, in their order; entries may be left out.

    Attributes:
        starts: The attempts' beginnings.
        first_word_ms: When the first word of the source came.
        last_ms: When the last entry was written.
        retry: The last retry of the last attempt, if no word has come after it.
        retries: How many there were in all attempts.
        longest_gap_ms: The longest time between two entries in a row.
        longest_gap_after: The offset of the entry before that gap.
        usage: Tokens, as far as the source has told.
        end: The data of the terminal entry.
        entries_read: How many entries were added.
    """

    starts: list[Start] = field(default_factory=list)
    first_word_ms: int | None = None
    last_ms: int | None = None
    retry: Retry | None = None
    retries: int = 0
    has_word: bool = False
    longest_gap_ms: int = 0
    longest_gap_after: int | None = None
    usage: Json | None = None
    end: Json = field(default_factory=dict)
    entries_read: int = 0
    _last_offset: int = 0

    def add(self, page: Iterable[Timed]) -> None:
        """Add entries, in their order."""
        for (offset, epoch, content), written_ms in page:
            self.entries_read += 1
            self._note_gap(offset, written_ms)
            if is_word(content):
                self.has_word, self.retry = True, None
                if self.first_word_ms is None:
                    self.first_word_ms = written_ms
            if content[:1] in _KINDS:
                self._note(offset, epoch, content, written_ms)

    def _note(self, offset: int, epoch: int, content: bytes, written_ms: int | None) -> None:
        entry = decode(content, offset, epoch)
        if entry.type == START:
            self.starts.append(Start(epoch, offset, written_ms))
            self.has_word, self.retry = False, None
        elif entry.type == STATUS and entry.data.get("state") == "retrying":
            self.retries += 1
            number = self.retry.number + 1 if self.retry else 2
            delay_ms = entry.data.get("delay_ms")  # an app may write what it likes
            self.retry = Retry(
                str(entry.data.get("reason") or "unknown"),
                written_ms,
                delay_ms if isinstance(delay_ms, int) else 0,
                number,
            )
        elif entry.type == USAGE:
            self.usage = entry.data
        elif entry.type == END and is_end(content):
            self.end = entry.data
            self.usage = entry.data.get("usage") or self.usage

    def _note_gap(self, offset: int, written_ms: int | None) -> None:
        if written_ms is None:
            return
        follows = offset == self._last_offset + 1
        if follows and self.last_ms is not None and written_ms - self.last_ms > self.longest_gap_ms:
            self.longest_gap_ms, self.longest_gap_after = written_ms - self.last_ms, self._last_offset
        self.last_ms, self._last_offset = written_ms, offset
