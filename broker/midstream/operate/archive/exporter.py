"""Writes ended streams to an archive, and goes on with one that was cut short (PROTOCOL: Archive/Export)."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from midstream.log.entries import OUTCOMES
from midstream.log.errors import LogError, NewerFormat, StreamAbsent
from midstream.log.log import Log
from midstream.log.state import State
from midstream.log.whole import WholeState, WholeStreams
from midstream.operate.archive.archive_file import ArchiveReader, Closed, write_member
from midstream.operate.archive.archive_lines import (
    ArchiveError,
    Bounds,
    Heading,
    Row,
    StreamDigest,
    Totals,
    stream_line,
    written,
)

PART_BYTES: Final = 1_048_576
"""A part of at least so many bytes of lines is written: what a cut export loses."""
LINE_ROWS: Final = 500
LINE_BYTES: Final = 262_144
STATES: Final = 200
"""States that are read in one round trip."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which ended streams are to be exported; what is empty fits all.

    Attributes:
        tenant: Their tenant.
        user: Their user.
        thread: Their thread.
        outcomes: Some of `OUTCOMES`.
    """

    tenant: str = ""
    user: str = ""
    thread: str = ""
    outcomes: tuple[str, ...] = ()

    @property
    def filters(self) -> dict[str, Any]:
        """What is not empty, by the names of the options."""
        facts = {"tenant": self.tenant, "user": self.user, "thread": self.thread, "outcome": sorted(self.outcomes)}
        return {name: value for name, value in facts.items() if value}

    def fits(self, state: State) -> bool:
        """Tell whether a stream that has ended is of the selection."""
        return (
            self.tenant in ("", state.tenant)
            and self.user in ("", state.user)
            and self.thread in ("", state.thread)
            and state.outcome in (self.outcomes or OUTCOMES)
        )


@dataclass(slots=True)
class Exported:
    """What became of the streams.

    Attributes:
        streams: Streams that were written by this export.
        entries: Their entries.
        there: Streams that the archive had already.
        running: Streams that have not ended, and so were left out.
        gone: Streams that were deleted, trimmed or expired while they were read.
        unreadable: Names of streams whose log holds what no version of ours writes, or a newer one in its own format.
    """

    streams: int = 0
    entries: int = 0
    there: int = 0
    running: int = 0
    gone: int = 0
    unreadable: list[str] = field(default_factory=list)


Progress = Callable[[int, int], None]
"""Is called with how much is done, and how much there is to do."""


class Exporter:
    """Exports the streams of one installation."""

    def __init__(self, log: Log, streams: WholeStreams, bounds: Bounds) -> None:
        self._log = log
        self._streams = streams
        self._bounds = bounds
        self._totals = Totals()
        self._there: set[str] = set()
        self._part = bytearray()

    async def run(self, file: BinaryIO, selection: Selection, heading: Heading, progress: Progress) -> Exported:
        """Write what is of the selection and not yet in the file, and then the manifest.

        The file is open for reading and writing. What was cut short at its end is dropped.

        Raises:
            ArchiveError: The file holds something else.
            LogUnavailable: Redis does not answer. What is written stays, and the same call goes on with it.
        """
        is_complete = self._go_on(file, heading)
        result = Exported()
        names = await self._names()
        for done in range(0, len(names), STATES):
            page = names[done : done + STATES]
            for number, (name, state) in enumerate(zip(page, await self._log.many.states(page), strict=True), done + 1):
                if name in self._there:
                    result.there += 1
                elif isinstance(state, NewerFormat):
                    result.unreadable += [name] if selection.tenant in ("", state.tenant) else []
                elif isinstance(state, LogError):
                    raise state
                elif state is not None and not state.ended:
                    result.running += selection.tenant in ("", state.tenant)
                elif state is not None and selection.fits(state):
                    await self._add(name, result)
                if len(self._part) >= PART_BYTES:
                    is_complete = self._flush(file)
                    progress(number, len(names))
        is_complete = self._flush(file) if self._part else is_complete
        if not is_complete:
            write_member(file, self._totals.line())
        progress(len(names), len(names))
        return result

    def _go_on(self, file: BinaryIO, heading: Heading) -> bool:
        """Read what the file has, drop what was cut short, and return whether it has a manifest at its end."""
        if not file.seek(0, os.SEEK_END):
            write_member(file, heading.line())
            return False
        file.seek(0)
        reader = ArchiveReader(file, self._bounds)
        names: list[str] = []
        try:
            for part in reader.parts():
                if isinstance(part, Closed):
                    names.append(part.check.whole.name)  # noqa: PERF401 - what came before an error stays
        except ArchiveError as error:
            if error.code != "archive_truncated":
                raise
        whole = reader.whole
        if reader.heading != heading or not whole.size_bytes:
            raise ArchiveError("other_archive", "The file is an archive of another installation, or of other filters.")
        self._totals = whole.totals
        self._there = set(names[: whole.totals.streams])  # the others are in a part that was cut
        file.truncate(whole.size_bytes)
        file.seek(whole.size_bytes)
        return whole.is_complete

    async def _names(self) -> list[str]:
        names: set[str] = set()
        async for page in self._streams.names():
            names.update(page)
        return sorted(names)

    async def _add(self, name: str, result: Exported) -> None:
        """Add a stream to the part, as a whole or not at all."""
        begun = len(self._part)
        try:
            whole = await self._streams.state(name)
            if whole is None or whole.fields.get("status") != "ended":
                raise StreamAbsent(name)
            entries, digest = await self._write(whole)
        except (StreamAbsent, UnicodeDecodeError) as error:
            del self._part[begun:]
            if isinstance(error, StreamAbsent):
                result.gone += 1
            else:
                result.unreadable.append(name)
            return
        self._totals.add(entries, digest)
        result.streams += 1
        result.entries += entries

    async def _write(self, whole: WholeState) -> tuple[int, str]:
        self._part += stream_line(whole)
        digest, entries = StreamDigest(whole), 0
        line: list[Row] = []
        size_bytes = 0
        async for rows in self._streams.rows(whole.name, whole.number("first"), whole.number("tail")):
            for row_id, (time, content) in rows:
                row = row_id.decode(), time.decode(), content.decode()
                digest.add(row)
                line.append(row)
                size_bytes += len(content)
                if len(line) >= LINE_ROWS or size_bytes >= LINE_BYTES:
                    self._part += written("rows", line)
                    line, size_bytes = [], 0
            entries += len(rows)
        self._part += written("rows", line) if line else b""
        self._part += written("end", {"entries": entries, "sha256": digest.hex()})
        return entries, digest.hex()

    def _flush(self, file: BinaryIO) -> bool:
        """Write the part, after which the archive lacks its manifest."""
        write_member(file, bytes(self._part))
        self._part.clear()
        return False


async def digest_of(streams: WholeStreams, whole: WholeState) -> str:
    """Return the digest of a stream that is on the server; empty: it is going just now."""
    digest = StreamDigest(whole)
    try:
        async for rows in streams.rows(whole.name, whole.number("first"), whole.number("tail")):
            for row_id, (time, content) in rows:
                digest.add((row_id.decode(), time.decode(), content.decode()))
    except (StreamAbsent, UnicodeDecodeError):
        return ""
    return digest.hex()
