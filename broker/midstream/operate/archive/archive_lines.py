"""The lines of an archive (PROTOCOL: Archive/Format)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from midstream.log.whole import WholeState

FORMAT: Final = "midstream"
VERSION: Final = 1
MOST_NUMBER: Final = 10**15
LASTING: Final = (
    *("tenant", "user", "model", "thread", "metadata", "digest", "request", "origin"),
    *("outcome", "epoch", "first", "tail", "created_ms", "started_ms", "ended_ms"),
)
"""The fields of a state that nothing changes after the end, except that a trim raises `first`."""

Row = tuple[str, str, str]
"""One entry: id, name of its field (its time), content."""


class ArchiveError(Exception):
    """An archive cannot be used. `code` is public."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an archive may hold.

    Attributes:
        line_bytes: The longest line.
        all_bytes: All lines together, uncompressed.
        stream_entries: Entries of a stream; 0: any number.
        stream_bytes: Bytes of a stream's entries.
        now_ms: The time of the server that is imported to.
    """

    line_bytes: int
    all_bytes: int
    stream_entries: int = 0
    stream_bytes: int = 0
    now_ms: int = MOST_NUMBER


@dataclass(frozen=True, slots=True)
class Heading:
    """The first line of an archive.

    Attributes:
        filters: Which streams were asked for, by the names of the options.
        secret_digest: SHA-256 of the installation's secret; empty: it had none.
        secret: The secret itself, where it was exported.
    """

    filters: Mapping[str, Any]
    secret_digest: str = ""
    secret: str = ""

    def line(self) -> bytes:
        """Return the line."""
        facts = {"filters": self.filters, "secret_sha256": self.secret_digest, "secret": self.secret or None}
        return written("archive", {"format": FORMAT, "version": VERSION} | facts)

    @classmethod
    def read(cls, line: bytes) -> "Heading":
        """Return what the line says.

        Raises:
            ArchiveError: It is none, or of another version.
        """
        kind, value = parsed(line, 1)
        if kind != "archive" or not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ArchiveError("archive_unreadable", "The file is no archive of midstream.")
        if value.get("version") != VERSION:
            raise ArchiveError(
                "archive_version", f"The archive has the version {value.get('version')!r}, not {VERSION}."
            )
        filters, digest, secret = value.get("filters"), value.get("secret_sha256"), value.get("secret") or ""
        if not isinstance(filters, dict) or not isinstance(digest, str) or not isinstance(secret, str):
            raise ArchiveError("bad_line", "Line 1: a field is missing, or of another type.")
        if secret and secret_digest(secret) != digest:
            raise ArchiveError("archive_mismatch", "Line 1: the secret does not fit its SHA-256.")
        return cls(filters, digest, secret)


@dataclass(slots=True)
class Totals:
    """How much an archive holds so far; the digest is over those of its streams, in their order."""

    streams: int = 0
    entries: int = 0
    digest: str = ""

    def add(self, entries: int, digest: str) -> None:
        """Count a stream."""
        self.streams += 1
        self.entries += entries
        self.digest = hashlib.sha256(f"{self.digest}{digest}".encode()).hexdigest()

    def line(self) -> bytes:
        """Return the manifest's line."""
        return written("manifest", {"streams": self.streams, "entries": self.entries, "sha256": self.digest})


class StreamDigest:
    """The SHA-256 over what lasts of a stream: two streams of one name and digest are the same."""

    def __init__(self, whole: WholeState) -> None:
        lasting = [whole.name, *(whole.fields.get(name, "") for name in LASTING)]
        self._hash = hashlib.sha256(orjson.dumps(lasting))

    def add(self, row: Row) -> None:
        """Take an entry in."""
        content = row[2].encode()
        self._hash.update(b"\n%s %s %d\n%s" % (row[0].encode(), row[1].encode(), len(content), content))

    def hex(self) -> str:
        """Return the digest."""
        return self._hash.hexdigest()


def stream_line(whole: WholeState) -> bytes:
    """Return the first line of a stream."""
    return written("stream", {"name": whole.name, "state": whole.fields, "chat": whole.chat or None})


def written(kind: str, value: Any) -> bytes:
    """Return a line.

    Raises:
        TypeError: It holds text that is no Unicode.
    """
    return orjson.dumps({kind: value}, option=orjson.OPT_APPEND_NEWLINE)


def parsed(line: bytes, number: int) -> tuple[str, Any]:
    """Return the kind of a line and its value.

    Raises:
        ArchiveError: It is none.
    """
    try:
        document = orjson.loads(line)
    except ValueError:
        document = None
    if not isinstance(document, dict) or len(document) != 1:
        raise ArchiveError("bad_line", f"Line {number} is no object with one field.")
    ((kind, value),) = document.items()
    return kind, value


def secret_digest(secret: str) -> str:
    """Return what an archive says of a secret, which has 256 random bits, so that its digest tells nobody anything."""
    return hashlib.sha256(secret.encode()).hexdigest() if secret else ""
