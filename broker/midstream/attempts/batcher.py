"""When entries leave for the log: the first at once, later ones by size or by time. Pure; the clock is passed in."""

from dataclasses import dataclass

from midstream.log.entries import REASONING, TEXT, Entry, encode


@dataclass(frozen=True, slots=True)
class Batch:
    """Stored entries that are appended together, and the upstream's position after them."""

    contents: list[bytes]
    cursor: int | None


class Batcher:
    """Gathers entries until they are due. Neighbouring pieces of text in one batch become one entry."""

    def __init__(self, flush_ms: float, flush_bytes: int) -> None:
        self._flush_ms = flush_ms
        self._flush_bytes = flush_bytes
        self._contents: list[bytes] = []
        self._open: list[str] = []  # pieces of the text that the batch ends with, not yet one entry
        self._open_type = ""
        self._cursor: int | None = None
        self._since_ms = 0.0
        self._first = True
        self.size_bytes = 0

    def add(self, entry: Entry, now_ms: float) -> None:
        """Take an entry."""
        if not self.size_bytes:
            self._since_ms = now_ms
        if entry.type in (TEXT, REASONING):
            if entry.type != self._open_type:
                self._close_text()
                self._open_type = entry.type
            self._open.append(entry.text)
            self.size_bytes += 1 + len(entry.text)
        else:
            self._close_text()
            content = encode(entry)
            self._contents.append(content)
            self.size_bytes += len(content)

    @property
    def entries(self) -> int:
        """How many entries the batch has come to."""
        return len(self._contents) + bool(self._open)

    def mark(self, cursor: int) -> None:
        """Note the upstream's position after everything that was added."""
        self._cursor = cursor

    def due_in_ms(self, now_ms: float) -> float | None:
        """Return how long the batch may still wait, 0 if it is due; None if it is empty."""
        if not self.size_bytes:
            return None
        if self._first or self.size_bytes >= self._flush_bytes:
            return 0.0
        return max(0.0, self._since_ms + self._flush_ms - now_ms)

    def take(self) -> Batch:
        """Return the batch and begin the next one."""
        self._close_text()
        batch = Batch(self._contents, self._cursor)
        self._contents, self._cursor, self.size_bytes, self._first = [], None, 0, False
        return batch

    def _close_text(self) -> None:
        if self._open:
            self._contents.append(encode(Entry(self._open_type, {"text": "".join(self._open)})))
            self._open = []
        self._open_type = ""
