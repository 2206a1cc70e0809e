"""Archives of strangers: each fault has its code, whatever it costs to find it (PROTOCOL: Archive/Checks)."""

import gzip
import io
from typing import Any

import orjson
import pytest

from midstream.log.entries import END, Entry, encode
from midstream.log.state import FORMAT
from midstream.log.whole import WholeState
from midstream.operate.archive.archive_file import ArchiveReader
from midstream.operate.archive.archive_lines import (
    ArchiveError,
    Bounds,
    Heading,
    StreamDigest,
    Totals,
    stream_line,
    written,
)

NOW_MS = 1_800_000_000_000
BOUNDS = Bounds(line_bytes=20_000, all_bytes=200_000, stream_entries=5, stream_bytes=2_000, now_ms=NOW_MS)
FIELDS = {
    "status": "ended",
    "tenant": "acme",
    "outcome": "completed",
    "epoch": "2",
    "first": "1",
    "tail": "4",
    "created_ms": f"{NOW_MS - 9_000}",
    "ended_ms": f"{NOW_MS}",
    "ttl_s": "60",
    "request": '{"input": "hi"}',
    "metadata": "{}",
}
END_CONTENT = encode(Entry(END, {"outcome": "completed"})).decode()
ROWS = [["1-1", "0", 's{"epoch":1,"model":"m"}'], ["2-1", "5", "tone"], ["3-2", "e", "ttwo"], ["4-2", "9", END_CONTENT]]
CHAT = {"turn": "1", "digest": "d", "stream": "one", "seen": ""}


def stream(rows: list[Any] = ROWS, name: str = "acme/one", chat: Any = None, **fields: str) -> list[bytes]:
    """Return the lines of a stream whose checksum fits."""
    whole = WholeState(name, FIELDS | fields, chat or {})
    digest = StreamDigest(whole)
    for row in rows:
        digest.add((*map(str, row), "", "", "")[:3])  # type: ignore[arg-type]
    end = written("end", {"entries": len(rows), "sha256": digest.hex()})
    return [stream_line(whole), written("rows", rows), end]


def archive(lines: list[bytes], heading: bytes = Heading({}).line(), manifest: bytes | None = None) -> bytes:
    """Return an archive of these lines."""
    totals = Totals()
    for line in lines:
        if (end := orjson.loads(line).get("end")) and isinstance(end, dict):
            totals.add(end["entries"], end["sha256"])
    return b"".join(gzip.compress(member, mtime=0) for member in (heading, b"".join(lines), manifest or totals.line()))


def code_of(data: bytes, bounds: Bounds = BOUNDS) -> str:
    """Return the code with which an archive is refused; empty: it is not."""
    try:
        list(ArchiveReader(io.BytesIO(data), bounds).parts())
    except ArchiveError as error:
        return error.code
    return ""


def test_an_archive_of_two_streams_is_read() -> None:
    """Archive/Format."""
    trimmed = stream(ROWS[2:], "two", tenant="default", first="3", tail="4")
    reader = ArchiveReader(io.BytesIO(archive(stream(chat=CHAT) + trimmed)), BOUNDS)
    assert [type(part).__name__ for part in reader.parts()] == ["Begun", "Logged", "Closed"] * 2
    assert (reader.whole.totals.streams, reader.whole.totals.entries, reader.whole.is_complete) == (2, 6, True)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        ROWS[:3],
        ROWS[1:],
        [ROWS[0], ROWS[2], ROWS[3]],
        [ROWS[0], ROWS[0], ROWS[1], ROWS[3]],
        [ROWS[0], ["2-2", "5", "tone"], ["3-1", "5", "ttwo"], ROWS[3]],
        [ROWS[0], ["2-9", "5", "tone"], *ROWS[2:]],
        [*ROWS[:3], ["4-2", "9", END_CONTENT.replace("completed", "failed")]],
        [*ROWS[:2], ["3-2", "9", END_CONTENT], ROWS[3]],
        [*ROWS, ["5-2", "9", END_CONTENT]],
        [ROWS[0], ["2-1", "-5", "tone"], *ROWS[2:]],
        [ROWS[0], ["2-1", "5", "?one"], *ROWS[2:]],
        [ROWS[0], ["2-1", "5", ""], *ROWS[2:]],
        [ROWS[0], ["2-1", "5", 'c{"id":'], *ROWS[2:]],
        [ROWS[0], ["2-1", "5", "c[1]"], *ROWS[2:]],
        [ROWS[0], ["2-1", "5", 'c{"name":"look","arguments":"{}"}'], *ROWS[2:]],
        [ROWS[0], ["2-1", "5", 'i{"id":"c1","name":"look","delta":null}'], *ROWS[2:]],
        [ROWS[0], ["2-1", 5, "tone"], *ROWS[2:]],
        [ROWS[0], ["2", "5", "tone"], *ROWS[2:]],
        [ROWS[0], ["2-1", "5", "t" + "x" * 2_000_000], *ROWS[2:]],
        "rows",
    ],
)
def test_entries_that_no_stream_could_have_are_refused(rows: Any) -> None:
    bounds = Bounds(line_bytes=3_000_000, all_bytes=9_000_000, stream_entries=5, stream_bytes=2_000, now_ms=NOW_MS)
    assert code_of(archive(stream(rows)), bounds) == "bad_stream"


def test_a_stream_of_a_newer_format_is_refused() -> None:
    """State/Format, Archive/Checks."""
    assert code_of(archive(stream(format=str(FORMAT)))) == ""
    assert code_of(archive(stream(format=str(FORMAT + 1)))) == "archive_version"


def test_a_stream_of_too_many_entries_is_refused() -> None:
    rows = [[f"{offset}-1", "1", "tx"] for offset in range(1, 12_000)]
    bounds = Bounds(line_bytes=3_000_000, all_bytes=9_000_000, stream_entries=5, stream_bytes=2_000, now_ms=NOW_MS)
    assert code_of(archive(stream(rows, tail="12000")), bounds) == "bad_stream"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("other/one", {}),
        ("one", {}),
        ("acme/o}ne", {}),
        ("acme/one/two", {}),
        ("acme/one\n", {}),
        ("", {}),
        ("acme/one", {"status": "running"}),
        ("acme/one", {"status": "deleted"}),
        ("acme/one", {"outcome": "won"}),
        ("acme/one", {"tail": "-4"}),
        ("acme/one", {"tail": "four"}),
        ("acme/one", {"first": "0"}),
        ("acme/one", {"paid": "9" * 20}),
        ("acme/one", {"created_ms": f"{NOW_MS + 1}"}),
        ("acme/one", {"ended_ms": f"{NOW_MS + 4_000_000}"}),
        ("acme/one", {"ttl_s": "0"}),
        ("acme/one", {"ttl_s": f"{10**12}"}),
        ("acme/one", {"request": "{}"}),
        ("acme/one", {"request": "{"}),
        ("acme/one", {"metadata": "[]"}),
        ("acme/one", {"past": "1 lost then me"}),
        ("acme/one", {"Field-": ""}),
    ],
)
def test_a_state_that_no_stream_could_have_is_refused(name: str, fields: Any) -> None:
    assert code_of(archive(stream(name=name, **fields))) == "bad_stream"


@pytest.mark.parametrize("chat", [{"turn": "x"}, {"turn": "1"}, CHAT | {"key": "ms:secret"}, CHAT | {"turn": "9" * 16}])
def test_a_chat_that_cannot_be_is_refused(chat: dict[str, str]) -> None:
    assert code_of(archive(stream(chat=chat))) == "bad_stream"


def test_lines_out_of_place_are_refused() -> None:
    head, rows, end = stream()
    for lines in ([rows], [end], [head, head], [head, end], [head, rows], [b"{}\n"], [b"[]\n"], [b"\xff\n"], [b"x"]):
        assert code_of(archive([], manifest=b"".join(lines))) in ("bad_line", "bad_stream")
    assert code_of(archive([head, rows], manifest=b"{")) == "bad_line"
    assert code_of(archive([], manifest=written("else", 1))) == "bad_line"
    assert code_of(archive([], manifest=b"[" * 10_000 + b"\n")) == "bad_line"


def test_a_damaged_file_is_refused() -> None:
    whole = archive(stream())
    assert code_of(b"") == "archive_truncated"
    assert {code_of(whole[:size]) for size in range(1, len(whole))} == {"archive_truncated"}
    damaged = {code_of(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]) for at in range(20, len(whole), 3)}
    # Nothing comes of the bytes that a gzip's head has for the time and the system.
    assert damaged <= {"archive_unreadable", "archive_truncated", "bad_line", "bad_stream", "archive_mismatch", ""}
    assert code_of(b"PK\x03\x04 another file") == "archive_unreadable"
    assert code_of(gzip.compress(b'{"mine": 1}\n')) == "archive_unreadable"
    assert code_of(whole + b"rest") == "archive_unreadable"


def test_what_does_not_fit_its_checksum_is_refused() -> None:
    head, rows, end = stream()
    other = stream([ROWS[0], ["2-1", "5", "tONE"], *ROWS[2:]])[1]
    assert code_of(archive([head, other, end])) == "archive_mismatch"
    assert code_of(archive([head.replace(b'"hi\\"', b'"ho\\"'), rows, end])) == "archive_mismatch"
    for manifest in (Totals(1, 4, "0" * 64), Totals(2, 4, "")):
        assert code_of(archive([head, rows, end], manifest=manifest.line())) == "archive_mismatch"
    assert code_of(archive([], manifest=written("manifest", {"streams": "none"}))) == "bad_line"
    heading = written("archive", orjson.loads(Heading({}).line())["archive"] | {"secret": "s"})
    assert code_of(archive([], heading)) == "archive_mismatch"
    assert code_of(archive([], Heading({}).line().replace(b'"version":1', b'"version":2'))) == "archive_version"


def test_a_small_file_that_becomes_large_is_refused_in_time() -> None:
    """Archive/Checks: what would be 4 GB is not uncompressed, and not held."""
    member = gzip.compress(b"x" * 1_000_000)
    assert code_of(gzip.compress(Heading({}).line()) + member * 4_000) == "archive_too_large"
    assert code_of(archive([]) + gzip.compress(b"\n" * 1_000_000)) == "archive_too_large"
    lines = [line for number in range(500) for line in stream(name=f"acme/s{number}")]
    assert code_of(archive(lines)) == "archive_too_large"
