"""An archive as a file: gzip members, each with whole streams, so that it can be cut and gone on with."""

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Final

from midstream.operate.archive.archive_lines import ArchiveError, Bounds, Heading, Row, Totals, parsed
from midstream.operate.archive.stream_check import StreamCheck, opened_stream

READ_BYTES: Final = 65_536
INFLATED_BYTES: Final = 1_048_576
"""What is uncompressed at once: a small file may hold a line without an end."""
GZIP: Final = zlib.MAX_WBITS | 16
LEVEL: Final = 6


def write_member(file: BinaryIO, lines: bytes) -> None:
    """Write lines as a member of their own, down to the disk."""
    file.write(gzip.compress(lines, LEVEL, mtime=0))
    file.flush()
    os.fsync(file.fileno())


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream begins."""

    check: StreamCheck


@dataclass(frozen=True, slots=True)
class Logged:
    """Entries of the stream that has begun."""

    check: StreamCheck
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream that has begun is whole."""

    check: StreamCheck
    digest: str


Part = Begun | Logged | Closed


@dataclass(frozen=True, slots=True)
class Whole:
    """How far a file is made of whole members.

    Attributes:
        size_bytes: Their size in the file.
        totals: What they hold.
        is_complete: Whether the manifest is the last of them.
    """

    size_bytes: int = 0
    totals: Totals = field(default_factory=Totals)
    is_complete: bool = False


class ArchiveReader:
    """Reads an archive once, from its first byte on, and checks all of it; no line is longer in memory than one may be.

    Attributes:
        heading: What the first line says, once it was read.
        whole: How far the file is made of whole members, so far.
        at: How many bytes of the file have been read.
    """

    def __init__(self, file: BinaryIO, bounds: Bounds) -> None:
        self.heading: Heading | None = None
        self.whole = Whole()
        self.at = 0
        self._file = file
        self._bounds = bounds
        self._number = 0
        self._totals = Totals()
        self._check: StreamCheck | None = None
        self._is_complete = False

    def parts(self) -> Iterator[Part]:
        """Yield the streams in pieces.

        Raises:
            ArchiveError: The archive cannot be used from here on; `archive_truncated` where only its end is missing.
        """
        for line in self._lines():
            if line is None:
                if self._check is not None:
                    raise ArchiveError("bad_line", f"After line {self._number} a stream goes on in another part.")
                self.whole = Whole(self.at, replace(self._totals), self._is_complete)
                continue
            self._number += 1
            if self.heading is None:
                self.heading = Heading.read(line)
                continue
            part = self._part(*parsed(line, self._number))
            if part is not None:
                yield part
        if not self.whole.is_complete:
            raise ArchiveError("archive_truncated", "The archive has no manifest at its end: its export was cut short.")

    def _part(self, kind: str, value: Any) -> Part | None:
        check, self._is_complete = self._check, False
        match kind:
            case "stream" if check is None:
                self._check = opened_stream(value, self._bounds)
                return Begun(self._check)
            case "rows" if check is not None:
                return Logged(check, check.add(value))
            case "end" if check is not None:
                digest = check.close(value)
                self._totals.add(check.entries, digest)
                self._check = None
                return Closed(check, digest)
            case "manifest" if check is None:
                if self._totals.line() != Totals(*_counts(value)).line():
                    raise ArchiveError(
                        "archive_mismatch", f"Line {self._number}: the manifest does not fit the streams."
                    )
                self._is_complete = True
                return None
        raise ArchiveError("bad_line", f"Line {self._number}: {kind[:40]!r} does not belong here.")

    def _lines(self) -> Iterator[bytes | None]:
        """Yield each line, and None after each member."""
        left, rest, inflater, size_bytes = b"", bytearray(), None, 0
        while left := left or self._file.read(READ_BYTES):
            inflater = inflater or zlib.decompressobj(GZIP)
            try:
                inflated = inflater.decompress(left, INFLATED_BYTES)
            except zlib.error as error:
                raise ArchiveError("archive_unreadable", f"The file is damaged, or no archive: {error}.") from None
            size_bytes += len(inflated)
            if size_bytes > self._bounds.all_bytes:
                most = self._bounds.all_bytes
                raise ArchiveError("archive_too_large", f"It has more than {most} bytes (MIDSTREAM_ARCHIVE_BYTES).")
            *lines, last = inflated.split(b"\n")
            if lines:
                lines[0] = bytes(rest) + lines[0]
                rest.clear()
            rest += last
            most = self._bounds.line_bytes
            if len(rest) > most or any(len(line) > most for line in lines):
                why = f"Line {self._number + 1} has more than {most} bytes (MIDSTREAM_ARCHIVE_LINE_BYTES)."
                raise ArchiveError("archive_too_large", why)
            yield from lines
            if inflater.eof:
                left, inflater = inflater.unused_data, None
                self.at = self._file.tell() - len(left)
                if rest:
                    raise ArchiveError("bad_line", f"Line {self._number + 1} has no end.")
                yield None
            else:
                left = inflater.unconsumed_tail
                self.at = self._file.tell() - len(left)
        if inflater is not None:
            raise ArchiveError(
                "archive_truncated", "The archive ends in the middle of a part: its export was cut short."
            )


def _counts(value: Any) -> tuple[int, int, str]:
    facts = value if isinstance(value, dict) else {}
    streams, entries, digest = facts.get("streams"), facts.get("entries"), facts.get("sha256")
    if isinstance(streams, int) and isinstance(entries, int) and isinstance(digest, str):
        return streams, entries, digest
    raise ArchiveError("bad_line", "A manifest lacks a field, or one is of another type.")
